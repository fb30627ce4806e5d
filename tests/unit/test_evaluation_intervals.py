"""Intervals hold the truth as often as they say, and a change of policy is measured as defined."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from assent import InputError
from assent.encoding import CausalEncoder
from assent.evaluation.intervals import bootstrap_interval, paired_bootstrap, wilson_interval
from assent.evaluation.policy_change import head_to_head, kl_to_start, repetition
from assent.evaluation.ranking_accuracy import ranking_accuracy
from assent.evaluation.scoring import completion_log_probs, sampled
from assent.likelihood.causal_lm import PaddedCausalPolicy
from tests.tiny import byte_tokenizer, tiny_comparisons, tiny_lm


@pytest.mark.parametrize(("successes", "count"), [(0, 10), (10, 10), (37, 50), (1, 1), (480, 1000)])
def test_wilson_agrees_with_scipy(successes: int, count: int) -> None:
    expected = binomtest(successes, count).proportion_ci(0.95, method="wilson")
    found = wilson_interval(successes, count)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.low <= found.estimate <= found.high


def test_wilson_holds_the_truth_as_often_as_it_says() -> None:
    for truth in (0.5, 0.9, 0.97):
        draws = np.random.default_rng(0).binomial(200, truth, 2000)
        held = np.mean([(i := wilson_interval(int(k), 200)).low <= truth <= i.high for k in draws])
        assert 0.925 <= held <= 0.975


def test_the_bootstrap_holds_the_truth_and_ignoring_groups_does_not() -> None:
    generator = np.random.default_rng(1)
    held, held_ungrouped = [], []
    for _ in range(200):
        # 60 prompts of 8 samples each, all samples of a prompt nearly alike.
        values = (generator.normal(size=(60, 1)) + 0.1 * generator.normal(size=(60, 8))).ravel()
        grouped = bootstrap_interval(values, np.repeat(np.arange(60), 8).tolist(), rounds=400)
        alone = bootstrap_interval(values, rounds=400)
        held.append(grouped.low <= 0 <= grouped.high)
        held_ungrouped.append(alone.low <= 0 <= alone.high)
    assert 0.89 <= np.mean(held) <= 0.99
    assert np.mean(held_ungrouped) < 0.7


def test_the_bootstrap_is_the_mean_and_repeats_itself() -> None:
    values = [1.0, 2.0, math.nan, 4.0, 5.0]
    first, again = bootstrap_interval(values, seed=3), bootstrap_interval(values, seed=3)
    assert first == again
    assert first.estimate == 3.0
    assert first.count == 4
    assert bootstrap_interval([2.0, 2.0]).low == bootstrap_interval([2.0, 2.0]).high == 2.0


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    generator = np.random.default_rng(2)
    base = generator.normal(size=200)
    paired = paired_bootstrap(base + 0.1 + 0.01 * generator.normal(size=200), base)
    assert paired.above(0)
    assert paired.high - paired.low < 0.01
    assert not paired_bootstrap(base, generator.permutation(base)).above(0)


@pytest.mark.parametrize("call", [
    lambda: wilson_interval(1, 0), lambda: wilson_interval(3, 2), lambda: bootstrap_interval([]),
    lambda: bootstrap_interval([math.nan]), lambda: bootstrap_interval([1, 2], ["a"]),
    lambda: paired_bootstrap([1, 2], [1]), lambda: wilson_interval(1, 2, level=1),
])  # fmt: skip
def test_an_interval_of_nothing_is_refused(call: object) -> None:
    with pytest.raises(InputError):
        call()  # type: ignore[operator]


def longer(prompt: str, first: str, second: str) -> float:
    return 0.5 if len(first) == len(second) else float(len(first) > len(second))


def test_head_to_head_counts_wins_ties_and_losses() -> None:
    found = head_to_head(["p", "q"], [["aa", "a"], ["a", "a"]], [["a", "a"], ["aa", "a"]], longer)
    assert (found.wins, found.ties, found.losses, found.unjudged) == (1, 2, 1, 0)
    assert found.rate.estimate == 0.5
    assert found.rate.count == 2


def test_a_judge_who_favours_a_position_favours_nobody() -> None:
    prompts, texts = ["p"] * 400, [["a"]] * 400
    rates = [head_to_head(prompts, texts, texts, lambda *_: 1.0, seed=seed).rate for seed in range(10)]
    assert sum(rate.low <= 0.5 <= rate.high for rate in rates) >= 8


def test_what_the_judge_leaves_open_is_counted_and_left_out() -> None:
    found = head_to_head(
        ["p", "q"], [["aa"], ["b"]], [["a"], ["b"]], lambda _, a, b: math.nan if a == b else longer(_, a, b)
    )
    assert found.unjudged == 1
    assert found.rate.estimate == 1
    with pytest.raises(InputError, match="as many samples"):
        head_to_head(["p", "q"], [["a"], ["a", "b"]], [["a"], ["a"]], longer)
    with pytest.raises(InputError, match="probability"):
        head_to_head(["p"], [["a"]], [["b"]], lambda *_: 2.0)


def test_repetition_is_the_share_of_repeated_trigrams() -> None:
    assert repetition("a b c a b c") == 0.25
    assert repetition("the same the same the same") == 0.5
    assert repetition("two words") == 0.0


def test_kl_of_samples_is_the_exact_kl_of_a_small_distribution() -> None:
    policy, start = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.3, 0.4])
    draws = np.random.default_rng(0).choice(3, size=(2000, 2), p=policy)
    found = kl_to_start(np.log(policy)[draws].tolist(), np.log(start)[draws].tolist())
    exact = float((policy * np.log(policy / start)).sum())
    assert found.low <= exact <= found.high
    assert kl_to_start([[-1.0, -2.0]], [[-1.0, -2.0]]).estimate == 0


def test_scores_are_the_policy_s_own_whatever_the_batching() -> None:
    policy = PaddedCausalPolicy(tiny_lm())
    encoded, _ = CausalEncoder(byte_tokenizer()).encode_all(tiny_comparisons(7, candidates=3))
    together = completion_log_probs(policy, encoded, max_tokens=100_000)
    apart = completion_log_probs(policy, encoded, max_tokens=1)
    for one, other in zip(together, apart, strict=True):
        assert one.shape == (3,)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)
    assert policy.training


def test_sampled_ids_are_scored_as_they_were_drawn() -> None:
    policy = PaddedCausalPolicy(tiny_lm())
    comparison = sampled([256, 70, 71], [[72, 257], [73, 74, 75]])
    (found,) = completion_log_probs(policy, [comparison])
    logits = policy.model(torch.tensor([[256, 70, 71, 72, 257]])).logits.log_softmax(-1)[0]
    assert float(found[0]) == pytest.approx((logits[2, 72] + logits[3, 257]).item(), abs=1e-4)
    assert found.shape == (2,)


def test_ranking_accuracy_by_policy_and_by_log_ratio() -> None:
    encoded, _ = CausalEncoder(byte_tokenizer()).encode_all(tiny_comparisons(2, candidates=3))
    policy = [torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-3.0, -2.0, -1.0])]
    found = ranking_accuracy(encoded, policy, reference=policy)
    assert found.pairs == 6
    assert found.by_policy.estimate == 0.5
    assert found.by_log_ratio is not None
    assert found.by_log_ratio.estimate == 0.5
    reference = [torch.tensor([-2.0, -2.0, -2.0]), torch.tensor([-9.0, -2.0, -1.0])]
    ratio = ranking_accuracy(encoded, policy, reference).by_log_ratio
    assert ratio is not None
    assert ratio.estimate == pytest.approx((3 + 2 + 0.5) / 6)
    assert ranking_accuracy(encoded, policy).by_log_ratio is None


def test_ranking_accuracy_of_ties_only_is_refused() -> None:
    (one,), _ = CausalEncoder(byte_tokenizer()).encode_all(tiny_comparisons(1))
    tied = one.__class__(**{**vars(one), "scores": (1.0, 1.0)})
    with pytest.raises(InputError, match="no pair to rank"):
        ranking_accuracy([tied], [torch.tensor([-1.0, -2.0])])
