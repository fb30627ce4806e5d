"""Needs of objectives matched with data: what is derived, what is left out, what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.objectives import Needs
from assent.training.matching import Derivations, match

PAIRS, LABELS, LISTS = Needs(pairs=True), Needs(labels=True), Needs(lists=True)


def judged(*scores: float | None, **fields: object) -> Comparison:
    return Comparison("q", [Candidate(f"a{i}", score=s) for i, s in enumerate(scores)], **fields)  # type: ignore[arg-type]


def answers(comparison: Comparison) -> list[object]:
    return [candidate.completion for candidate in comparison.candidates]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("best_worst", [["a1", "a0"]]),
        ("adjacent", [["a1", "a2"], ["a2", "a0"]]),
        ("all", [["a1", "a2"], ["a1", "a0"], ["a2", "a0"]]),
    ],
)
def test_pairs_are_made_of_lists(policy: str, expected: list[list[str]]) -> None:
    made = match([judged(1.0, 3.0, 2.0)], PAIRS, Derivations(pairs=policy))
    assert [answers(comparison) for comparison in made.comparisons] == expected
    assert made.counts[f"lists made into pairs ({policy})"] == 1


def test_lists_are_refused_where_the_run_file_says_so() -> None:
    with pytest.raises(InputError, match=r"takes pairs and the data has lists.*data\.pairs.*best_worst"):
        match([judged(1.0, 3.0, 2.0)], PAIRS, Derivations(pairs="refuse"))
    assert len(match([judged(1.0, 3.0)], PAIRS, Derivations(pairs="refuse")).comparisons) == 1


def test_ties_and_undecided_judges_stay_out_and_are_counted() -> None:
    data = [judged(1.0, 1.0), judged(1.0, 0.0, confidence=0.5), judged(1.0, 0.0), judged(2.0, 2.0, 2.0)]
    made = match(data, PAIRS)
    assert len(made.comparisons) == 1
    assert made.counts["left out: the scores are tied"] == 2
    assert made.counts["left out: the judge was undecided (confidence 0.5)"] == 1
    assert len(match(data, replace(PAIRS, ties=True)).comparisons) == 4


def test_a_confidence_stays_with_its_order() -> None:
    pair = judged(0.0, 1.0, confidence=0.2)
    assert match([pair], PAIRS).comparisons == [pair]


def test_labels_are_made_of_pairs() -> None:
    made = match([judged(0.0, 1.0), judged(2.0, 3.0, 1.0), judged(1.0, 1.0)], LABELS)
    assert [[(c.completion, c.label) for c in one.candidates] for one in made.comparisons] == [
        [("a1", True), ("a0", False)],
        [("a1", True), ("a2", False)],
    ]
    assert made.counts["left out: the scores are tied"] == 1


def test_labels_by_threshold() -> None:
    made = match([judged(0.0, 1.0, 5.0, None), judged(1.0)], LABELS, Derivations(labels=1.0))
    assert [[c.label for c in one.candidates] for one in made.comparisons] == [[False, None, True, None]]
    assert made.counts["answers above 1: good"] == 1
    assert made.counts["left out: no answer above or below the threshold"] == 1


def test_labels_are_refused_where_the_run_file_says_so() -> None:
    with pytest.raises(InputError, match=r"takes labels and the data has scores.*from_pairs"):
        match([judged(0.0, 1.0)], LABELS, Derivations(labels="refuse"))


def test_given_labels_are_taken_and_unknown_ones_counted() -> None:
    data = [
        Comparison("q", [Candidate("a", label=True)]),
        Comparison("q", [Candidate("b"), Candidate("c", label=False)]),
    ]
    made = match(data, LABELS, Derivations(labels="refuse"))
    assert made.comparisons == data
    assert made.counts["answers whose label is unknown"] == 1


def test_one_label_only_is_accepted() -> None:
    """Data with thumbs up alone trains; what that means is the objective's business."""
    assert len(match([Comparison("q", [Candidate("a", label=True)])] * 3, LABELS).comparisons) == 3


def test_demonstrations_use_the_best_answer_alone() -> None:
    made = match([judged(0.0, 1.0), Comparison("q", [Candidate("x")])], Needs(demonstrations=True))
    assert [answers(comparison) for comparison in made.comparisons] == [["a1"], ["x"]]


def test_a_sum_with_imitation_keeps_pairs() -> None:
    made = match([judged(0.0, 1.0)], PAIRS | Needs(demonstrations=True))
    assert len(made.comparisons[0].candidates) == 2


def test_lists_keep_judged_answers() -> None:
    made = match([judged(0.0, 1.0, None, 2.0), judged(1.0, 1.0), judged(1.0, None)], LISTS)
    assert [answers(comparison) for comparison in made.comparisons] == [["a3", "a1", "a0"]] or [
        sorted(map(str, answers(comparison))) for comparison in made.comparisons
    ] == [["a0", "a1", "a3"]]
    assert made.counts["answers that nobody judged, left out of their list"] == 1


def test_helpers_stay_and_are_asked_for() -> None:
    helper = Candidate("a1", role="corrupted_image")
    with_helper = Comparison("q", [Candidate("a", score=1), Candidate("b", score=0), helper])
    needs = Needs(pairs=True, helpers=("corrupted_image",))
    made = match([with_helper, judged(1.0, 0.0)], needs)
    assert made.comparisons == [with_helper]
    assert made.counts["left out: no helper candidate `corrupted_image`"] == 1
    with pytest.raises(InputError, match=r"helper candidates `corrupted_image`.*assent build"):
        match([judged(1.0, 0.0)], needs)


@pytest.mark.parametrize(
    ("data", "needs", "said"),
    [
        ([Comparison("q", [Candidate("a", label=True)])], PAIRS, r"pairs of a better.*labelled answers.*kto"),
        ([Comparison("q", [Candidate("a")])], PAIRS, r"demonstrations without judgement.*sft"),
        ([Comparison("q", [Candidate("a")])], LABELS, r"labelled good or bad.*sft"),
        ([judged(1.0, 0.0)], Needs(pairs=True, dimensions=True), r"scores by dimension"),
        ([], PAIRS, r"no records"),
    ],
)
def test_impossible_combinations_say_what_to_do(data: list[Comparison], needs: Needs, said: str) -> None:
    with pytest.raises(InputError, match=said):
        match(data, needs, objective="dpo")
