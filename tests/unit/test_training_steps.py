"""What makes up a step: its order, its mixture, its mismatched answers; and what warns while training."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assent.config import AlarmsConfig
from assent.encoding import EncodedCandidate, EncodedComparison
from assent.errors import InputError
from assent.training.alarms import alarms_of
from assent.training.mismatched import with_mismatched
from assent.training.order import StepKeys, StepOrder, mixed_seed


@given(size=st.integers(1, 40), per_step=st.integers(1, 12), seed=st.integers(0, 5), epoch=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_an_epoch_is_every_comparison_once(size: int, per_step: int, seed: int, epoch: int) -> None:
    order = StepOrder((size,), per_step, seed)
    steps = [order.step(epoch, index) for index in range(len(order))]
    assert sorted(at for step in steps for at in step) == list(range(size))
    assert all(len(step) == per_step for step in steps[:-1])
    again = StepOrder((size,), per_step, seed)
    assert again.step(epoch, len(order) - 1) == steps[-1]


def test_epochs_and_seeds_differ() -> None:
    order = StepOrder((50,), 50, 0)
    assert order.step(0, 0) != order.step(1, 0)
    assert order.step(0, 0) != StepOrder((50,), 50, 1).step(0, 0)
    assert len({mixed_seed(seed, step) for seed in range(30) for step in range(30)}) == 900


def test_a_mixture_keeps_its_shares_and_repeats_late() -> None:
    order = StepOrder((10, 90), 10, 0, weights=(0.5, 0.5))
    epochs = [[at for index in range(len(order)) for at in order.step(epoch, index)] for epoch in range(2)]
    for drawn in epochs:
        assert sum(at < 10 for at in drawn) == 50
        assert set(Counter(at for at in drawn if at < 10).values()) == {5}
    large = Counter(at for drawn in epochs for at in drawn if at >= 10)
    # 100 draws from 90: everything once before anything twice.
    assert set(large) == set(range(10, 100))
    assert max(large.values()) == 2


def test_a_short_last_step_can_be_left_out() -> None:
    assert len(StepOrder((10,), 4, 0)) == 3
    assert len(StepOrder((10,), 4, 0, drop_last=True)) == 2
    with pytest.raises(InputError, match="no full step"):
        StepOrder((3,), 4, 0, drop_last=True)
    with pytest.raises(InputError, match="nothing to train on"):
        StepOrder((0,), 4, 0)


def test_keys_follow_the_epoch() -> None:
    keys = StepKeys(StepOrder((5,), 2, 0), lambda: 3)
    assert list(keys) == [[(3, 0)], [(3, 1)], [(3, 2)]]


def comparison(prompt: int, answer: int) -> EncodedComparison:
    one = EncodedCandidate((1, prompt, answer, 2), (-1, -1, 0, 0), 2)
    return EncodedComparison(f"{prompt}-{answer}", (one,), (float("nan"),), (1,), (None,))


@given(prompts=st.lists(st.integers(10, 14), min_size=2, max_size=12), seed=st.integers(0, 3), step=st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_mismatched_answers_belong_to_other_prompts(prompts: list[int], seed: int, step: int) -> None:
    comparisons = [comparison(prompt, 100 + at) for at, prompt in enumerate(prompts)]
    spare = [comparison(99, 500)]
    made = with_mismatched(comparisons, seed, step, spare)
    # NaN scores are not equal to themselves; the candidates say it all.
    again = with_mismatched(comparisons, seed, step, spare)
    assert [one.candidates for one in made] == [one.candidates for one in again]
    for before, after in zip(comparisons, made, strict=True):
        helper = after.candidates[-1]
        assert after.roles == (None, "mismatched")
        assert after.candidates[0] == before.candidates[0]
        assert helper.ids[:2] == before.candidates[0].ids[:2]
        giver = helper.ids[2]
        assert giver == 500 or prompts[giver - 100] != before.candidates[0].ids[1]
    if max(Counter(prompts).values()) == 1:
        assert sorted(after.candidates[-1].ids[2] for after in made) == [100 + at for at in range(len(prompts))]


def test_a_step_of_one_takes_answers_from_the_data() -> None:
    (made,) = with_mismatched([comparison(10, 100)], 0, 0, [comparison(10, 100), comparison(11, 101)])
    assert made.candidates[-1].ids == (1, 10, 101, 2)
    # A helper that a resumed step already has is replaced, not added to.
    (again,) = with_mismatched([made], 0, 0, [comparison(11, 101)])
    assert again.roles == (None, "mismatched")
    with pytest.raises(InputError, match="all prompts are the same"):
        with_mismatched([comparison(10, 100)], 0, 0, [comparison(10, 103)])


def test_alarms_name_a_remedy_and_can_be_switched_off() -> None:
    limits = AlarmsConfig(chosen_drop=5.0, length_bias=0.2)
    assert not alarms_of({"log_ratio/chosen": -4.9, "longer/policy": 0.6, "longer/judge": 0.5}, limits)
    raised = alarms_of({"log_ratio/chosen": -6.0, "longer/policy": 0.9, "longer/judge": 0.5}, limits)
    assert "lost 6.0 nats" in raised["chosen_drop"]
    assert "sft" in raised["chosen_drop"]
    assert "90%" in raised["length_bias"]
    assert "simpo" in raised["length_bias"]
    off = replace_limits(limits, chosen_drop=None, length_bias=None)
    assert not alarms_of({"log_ratio/chosen": -99.0, "longer/policy": 1.0, "longer/judge": 0.0}, off)


def replace_limits(limits: AlarmsConfig, **changes: float | None) -> AlarmsConfig:
    return limits.model_copy(update=changes)
