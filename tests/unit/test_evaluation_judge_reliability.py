"""Agreement, self-preference, significance and ratings by turn, each against values that were planted."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.evaluation.judge_agreement import agreements, judge_agreement, panel_alpha
from assent.evaluation.matched_verdicts import verdicts_by_judge
from assent.evaluation.self_preference import self_preference
from assent.evaluation.significance import sign_flip_test
from assent.evaluation.turn_scores import score_difference, system_scores, turn_scores


def pair(prompt: str, value: float | None, judge: str | None = "j", swapped: bool = False, **more: Any) -> Comparison:
    """A pair of `mine` and `theirs`; value: the judge's preference for mine."""
    scores = (None, None) if value is None else (value, 1 - value)
    answers = [
        Candidate(f"{prompt} mine", score=scores[0], source="mine"),
        Candidate(f"{prompt} theirs", score=scores[1], source="theirs"),
    ]
    return Comparison(prompt, answers[::-1] if swapped else answers, annotator=judge, **more)


def test_pairs_match_whatever_their_order_and_form() -> None:
    said = verdicts_by_judge([pair("a", 1.0), pair("b", 0.0), pair("c", None)])["j"]
    other = verdicts_by_judge(
        [
            pair("a", 1.0, "k", swapped=True),
            Comparison(
                [{"role": "user", "content": "b"}],
                [Candidate("b theirs"), Candidate("b mine")],
                annotator="k",
                confidence=0.9,
            ),
        ]
    )["k"]
    assert set(said) == set(other)
    assert judge_agreement(said, other).with_ties.estimate == 1.0
    listed = Comparison("L", [Candidate(str(at), score=float(at)) for at in range(4)])
    assert len(verdicts_by_judge([listed])["people"]) == 6


def test_agreement_counts_ties_as_planted() -> None:
    # 100 pairs: 60 the same winner, 20 the other one, 20 where only the second judge ties.
    first = [pair(f"p{at}", 1.0 if at % 2 else 0.0) for at in range(100)]
    said = [at % 2 if at < 60 else 1 - at % 2 if at < 80 else 0.5 for at in range(100)]
    second = [pair(f"p{at}", float(value), "k", swapped=at % 3 == 0) for at, value in enumerate(said)]
    judges = verdicts_by_judge([*first, *second])
    found = judge_agreement(judges["j"], judges["k"])
    assert found.pairs == 100
    assert found.with_ties.estimate == pytest.approx(0.6)
    assert found.decided is not None
    assert found.decided.estimate == pytest.approx(60 / 80)
    # Chance: each side half of j, and 0.4, 0.4, 0.2 of k, nearly: the sides are drawn by a hash.
    assert found.kappa == pytest.approx((0.6 - 0.4) / (1 - 0.4), abs=0.02)
    assert list(agreements(judges)) == [("j", "k")]
    assert panel_alpha({"j": judges["j"], "again": judges["j"]}) == pytest.approx(1.0)
    assert panel_alpha({"j": judges["j"]}) is None
    with pytest.raises(InputError, match="in common"):
        judge_agreement(judges["j"], verdicts_by_judge([pair("elsewhere", 1.0)])["j"])


def drawn(bias: float, seed: int, count: int = 600) -> tuple[Any, Any]:
    """People's verdicts, and those of a judge that gives its own answers `bias` more; mine wins 60% with people."""
    draw = np.random.default_rng(seed)
    people, judge = [], []
    for at in range(count):
        truth = draw.random() < 0.6
        flip = draw.random() < 0.2
        says = truth != flip
        if not says and draw.random() < bias:
            says = True
        people.append(pair(f"q{at}", float(truth), "people"))
        judge.append(pair(f"q{at}", float(says), "mine", swapped=bool(at % 2)))
    return verdicts_by_judge(people)["people"], verdicts_by_judge(judge)["mine"]


def test_self_preference_is_what_was_planted_and_not_quality() -> None:
    people, fair = drawn(0.0, 0)
    found = self_preference(fair, {"mine"}, people)
    assert found is not None
    assert found.excess is not None
    # 20% symmetric noise moves 0.6 to 0.56: the own rate is above a half although nothing is favoured.
    assert found.own_rate.estimate == pytest.approx(0.56, abs=0.05)
    assert found.excess.estimate == pytest.approx(-0.04, abs=0.05)
    assert found.recall_gap == pytest.approx(0.0, abs=0.08)
    people, biased = drawn(0.5, 1)
    found = self_preference(biased, {"mine"}, people)
    assert found is not None
    assert found.excess is not None
    # P(own) = 0.56 + 0.5 x 0.44; recall of own 0.9, of the other 0.4.
    assert found.own_rate.estimate == pytest.approx(0.78, abs=0.05)
    assert found.excess.above(0.1)
    assert found.p_value is not None
    assert found.p_value < 0.001
    assert found.recall_gap == pytest.approx(0.5, abs=0.1)
    alone = self_preference(biased, {"mine"})
    assert alone is not None
    assert alone.excess is None
    assert self_preference(biased, {"somebody"}) is None
    assert self_preference(biased, {"mine", "theirs"}) is None, "a family does not meet another's answer here"


def test_sign_flips_are_exact_when_few_and_level_when_many() -> None:
    assert sign_flip_test([1.0, 1.0, 1.0, 1.0]) == pytest.approx(2 / 16)
    assert sign_flip_test([1.0, 2.0, -0.5]) == pytest.approx(4 / 8)
    values = [3.0, 1.0, 4.0, 1.0, 5.0, -9.0]
    exact = np.mean(
        [
            abs(np.dot(signs, values)) >= abs(sum(values)) - 1e-12
            for signs in itertools.product((-1, 1), repeat=len(values))
        ]
    )
    assert sign_flip_test(values) == pytest.approx(exact)
    # Values of one prompt flip together: two copies are no more evidence than one.
    assert sign_flip_test([1.0] * 8, ["a", "a", "b", "b", "c", "c", "d", "d"]) == pytest.approx(2 / 16)
    draw = np.random.default_rng(0)
    under_null = [sign_flip_test(draw.normal(size=30), rounds=299, seed=at) for at in range(300)]
    assert 0.02 < np.mean(np.array(under_null) <= 0.05) < 0.09
    assert sign_flip_test(draw.normal(0.8, 1, size=60)) < 0.001
    with pytest.raises(InputError, match="nothing"):
        sign_flip_test([float("nan")])


def rated(system: str, question: str, scores: tuple[float | None, ...], category: str) -> list[Comparison]:
    rows = []
    for at, score in enumerate(scores):
        prompt: list[Any] = [{"role": "user", "content": question}]
        for turn in range(at):
            prompt += [
                {"role": "assistant", "content": f"{system} {turn}"},
                {"role": "user", "content": f"more {turn}"},
            ]
        rows.append(Comparison(prompt, [Candidate(f"{system} {at}", score=score, source=system)], group=category))
    return rows


def test_scores_by_turn_and_category_are_those_planted() -> None:
    judged: list[Comparison] = []
    for at in range(20):
        category = "math" if at < 10 else "writing"
        judged += rated("strong", f"q{at}", (9.0, 7.0 if at < 10 else 8.0), category)
        judged += rated("weak", f"q{at}", (6.0, None if at == 0 else 4.0), category)
    rows = turn_scores(judged)
    strong, weak = system_scores(rows)
    assert (strong.system, strong.rated, strong.unrated) == ("strong", 40, 0)
    assert strong.turns == {1: 9.0, 2: 7.5}
    assert strong.categories == {"math": 8.0, "writing": 8.5}
    assert strong.mean.estimate == pytest.approx(8.25)
    assert strong.mean.count == 20, "questions, not answers, are the units"
    assert (weak.rated, weak.unrated) == (39, 1)
    assert weak.mean.estimate == pytest.approx((20 * 6 + 19 * 4) / 39)
    found = score_difference(rows, "strong", "weak")
    assert found is not None
    assert found.answers == 39
    assert found.difference.estimate == pytest.approx((20 * 3 + 9 * 3 + 10 * 4) / 39)
    assert found.p_value < 0.001
    same = score_difference(rows, "strong", "strong")
    assert same is not None
    assert (same.difference.estimate, same.p_value) == (0.0, 1.0)
    assert score_difference(rows, "strong", "nobody") is None
    with pytest.raises(InputError, match="no answer is rated"):
        system_scores(turn_scores([Comparison("q", [Candidate("a")])]))
