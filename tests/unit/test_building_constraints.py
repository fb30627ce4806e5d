"""Verifiable instructions: the text and its checker agree on what they were made for."""

import random

from hypothesis import given
from hypothesis import strategies as st

from assent.building.constraints import CONSTRAINTS, draw

OTHERS = ["mountain", "river", "quickly", "yellow"]
ANSWERS = st.text(st.sampled_from("abcdefghij ABC 0123 .,!?\n\n-\"'é"), min_size=1, max_size=400) | st.sampled_from(
    ["Paris is the capital of France. It lies on the Seine!", "- one\n- two\n\n1. three", "```x```"]
)


@given(ANSWERS, st.booleans(), st.integers(0, 10_000))
def test_every_kind_makes_instructions_that_are_as_true_as_asked(answer: str, truth: bool, seed: int) -> None:
    for maker in CONSTRAINTS:
        instruction = maker(answer, truth, random.Random(seed), OTHERS)
        if instruction is not None:
            assert instruction.check(answer) == truth, (instruction.text, answer)
            assert instruction.text.strip()


@given(ANSWERS, st.lists(st.booleans(), min_size=1, max_size=3), st.integers(0, 1000))
def test_drawn_instructions_are_of_different_kinds(answer: str, truths: list[bool], seed: int) -> None:
    found = draw(answer, truths, random.Random(seed), OTHERS)
    if found is not None:
        assert len({instruction.kind for instruction in found}) == len(truths)
        assert [instruction.check(answer) for instruction in found] == truths


def test_nothing_applies_to_an_empty_answer_that_counts() -> None:
    assert all(maker("", True, random.Random(0), []) is None for maker in CONSTRAINTS[:14])


def test_the_same_seed_draws_the_same_instructions() -> None:
    answer = "The quick brown fox jumps over the lazy dog. Then it sleeps."
    first, second = (draw(answer, [True, False], random.Random(7), OTHERS) for _ in range(2))
    assert [i.text for i in first] == [i.text for i in second]


def test_both_truth_values_are_reachable_for_most_kinds_of_a_real_answer() -> None:
    answer = "Rome was founded in 753 BC.\n\nIt grew quickly, and its roads reached far. Why?\n\n- roads\n- water"
    for truth in (True, False):
        made = [maker(answer, truth, random.Random(s), OTHERS) for maker in CONSTRAINTS for s in range(5)]
        assert sum(instruction is not None for instruction in made) > len(made) * 0.8
