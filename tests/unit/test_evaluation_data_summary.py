import json

import pytest

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.evaluation.data_lengths import lengths, shared_prefix
from assent.evaluation.data_summary import summarise


def pair(chosen: str, rejected: str, prompt: str = "one two three", **more: object) -> Comparison:
    return Comparison(prompt, [Candidate(chosen, score=1.0), Candidate(rejected, score=0.0)], **more)  # type: ignore[arg-type]


def test_lengths_are_in_bins_that_double() -> None:
    found = lengths([0, 1, 2, 3, 4, 7, 8])
    assert found.histogram == ((0, 1, 1), (1, 2, 1), (2, 4, 2), (4, 8, 2), (8, 16, 1))
    assert (found.count, found.total, found.longest, found.median) == (7, 25, 8, 3)


def test_a_prefix_is_shared_by_two_or_more() -> None:
    assert shared_prefix([[1, 2, 3], [1, 2, 4, 5], [1, 2]]) == 2
    assert shared_prefix([[1, 2, 3]]) == 0
    assert shared_prefix([[1], [2]]) == 0
    assert shared_prefix([[], [2]]) == 0


def test_the_share_of_a_common_prefix_is_of_all_units() -> None:
    # one two three | a b   and   one two three | a c d: 4 in common twice, 11 in all.
    found = summarise([pair("a b", "a c d")])
    assert found.common_prefix == pytest.approx(8 / 11)
    assert found.computed_once == pytest.approx(4 / 11)
    assert summarise([Comparison("one two", [Candidate("three")])]).common_prefix == 0


def test_a_tokenizer_counts_tokens() -> None:
    found = summarise([pair("ab", "abc", "x")], list, "tokens")
    assert found.unit == "tokens"
    assert found.lengths["rejected"].longest == 3
    assert found.common_prefix == pytest.approx(6 / 7)


def test_the_longer_answer_wins_leaves_out_ties_and_equal_lengths() -> None:
    tie = Comparison("p", [Candidate("a b c", score=1.0), Candidate("a", score=1.0)])
    even = Comparison("p", [Candidate("a b c", score=1.0), Candidate("a", score=0.0)], confidence=0.5)
    rows = [pair("a b", "c"), pair("a b c", "c"), pair("a", "b c"), pair("a", "b"), tie, even]
    wins = summarise(rows).longer_wins
    assert wins is not None
    assert (wins.count, wins.estimate) == (3, pytest.approx(2 / 3))
    # Wilson's interval of 2 of 3, z = 1.96.
    assert (wins.low, wins.high) == (pytest.approx(0.2077, abs=1e-4), pytest.approx(0.9385, abs=1e-4))
    assert summarise([tie]).longer_wins is None


def test_defects_are_counted() -> None:
    words = " ".join(f"w{i}" for i in range(80))
    rows = [
        pair("good", "bad"),
        pair("good", "bad", meta={"id": 3}),  # the same comparison
        pair("bad", "good"),  # the other way round
        pair("same", "same"),
        pair("x", " \n"),
        Comparison("p", [Candidate("a", score=2.0), Candidate("b", score=2.0)]),
        pair(words, "short"),
        pair(words + " more", "short"),
    ]
    found = summarise(rows)
    assert found.defects == {
        "ties": 1,
        "identical candidates": 1,
        "empty completions": 1,
        "exact duplicates": 1,
        "contradictions": 1,
        "near duplicates": 2,  # the reversed pair has the same texts
    }
    assert "near duplicates" not in summarise(rows, near=None).defects


def test_labels_scores_annotators_and_demonstrations() -> None:
    rows = [
        Comparison("p", [Candidate("a b", label=True, scores={"wit": 2.0}, source="m")], annotator="ann"),
        Comparison("q", [Candidate("c", label=False, scores={"wit": 4.0})]),
    ]
    found = summarise(rows)
    assert found.lengths["good"].mean == 2
    assert found.lengths["bad"].mean == 1
    assert found.scores["scores.wit"].mean == 3
    assert found.annotators == {"ann": 1, "(not given)": 1}
    assert found.sources == {"m": 1, "(not given)": 1}
    assert not found.demonstrations
    assert summarise([Comparison("p", [Candidate("a")])]).demonstrations


def test_many_annotators_are_counted_together() -> None:
    found = summarise([Comparison("p", [Candidate("a")], annotator=f"a{i}") for i in range(20)], near=None)
    assert len(found.annotators) == 13
    assert found.annotators["(8 others)"] == 8


def test_scores_too_far_apart_for_a_float_do_not_break_it() -> None:
    row = Comparison("p", [Candidate("a", score=1.5e308), Candidate("b", score=-1.5e308)])
    found = summarise([row])
    assert found.scores["score"].mean == 0
    json.dumps(found.as_json(), allow_nan=False)


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(InputError, match="no comparisons"):
        summarise([])
