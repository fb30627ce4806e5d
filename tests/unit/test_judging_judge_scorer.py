"""A judge passes for a preference model: scores, certainty, and no number where there was no verdict."""

import math
from collections.abc import Iterator, Sequence

import pytest

from assent.cli.score import opened
from assent.comparison import Candidate, Comparison
from assent.judging import Verdict
from assent.judging.scorers import JudgeScorer, ScorerJudge
from assent.preference_models import Scorer

PAIR = Comparison("Q?", [Candidate("a"), Candidate("bb")])


class Scripted:
    name = "scripted"
    criterion = "any"

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = verdicts

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        # As they are ready, which need not be their order.
        yield from reversed(list(enumerate(self.verdicts[: len(comparisons)])))


def test_verdicts_become_scores_in_order_and_silence_is_not_a_number() -> None:
    scorer = JudgeScorer(Scripted(Verdict("judged", (0.0, 1.0)), Verdict("unparsed")))
    assert isinstance(scorer, Scorer)
    judged, silent = scorer.score([PAIR, PAIR])
    assert judged.rewards == (0.0, 1.0)
    assert judged.gap(1, 0) > 0
    assert all(math.isnan(value) for value in silent.rewards)


def test_a_certainty_becomes_its_logit_and_stays_finite() -> None:
    unsure, certain = JudgeScorer(
        Scripted(Verdict("judged", (1.0, 0.0), confidence=0.8), Verdict("judged", (1.0, 0.0), confidence=1.0))
    ).score([PAIR, PAIR])
    assert unsure.gap(0, 1) == pytest.approx(math.log(4))
    assert unsure.gap(1, 0) == -unsure.gap(0, 1)
    assert math.isfinite(certain.gap(0, 1))


def test_there_and_back_keeps_the_verdict() -> None:
    scorer = JudgeScorer(Scripted(Verdict("judged", (2.0, 5.0))))
    ((_, verdict),) = ScorerJudge(scorer).judge([PAIR])
    assert verdict.status == "judged"
    assert verdict.scores[1] > verdict.scores[0]


def test_a_rule_is_opened_by_its_path_and_scores() -> None:
    scorer = opened("rule:tests.unit.test_judging_judge_scorer:length", None)
    assert scorer.score([PAIR])[0].rewards == (1.0, 2.0)


def length(prompt: str, answer: str) -> float:
    return float(len(answer))
