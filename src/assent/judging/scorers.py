"""Judges that compute: preference models, and a policy's own log-ratio to its reference, as scorers.

A policy judges itself through `assent.preference_models.backbone.ImplicitScorer`: beta [log pi - log pi_ref], the
reference being the model before any preference was learnt (against itself a policy gives 0 everywhere; Kim et al.
2024, arXiv 2406.04412).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from assent.comparison import Comparison
from assent.judging.verdict import Judge, Verdict, answers_of, spread
from assent.preference_models import Scored, Scorer

WINDOW = 64
CERTAIN = 1e-6
"""A judge's certainty is kept this far from 0 and 1, so that its logit is finite."""


class ScorerJudge:
    """Judges with anything that scores comparisons: a reward or preference model, an implicit reward, a formula.

    Args:
        scorer: see `assent.preference_models.Scorer`.
        criterion: what goes into the records' `context`.
    """

    def __init__(self, scorer: Scorer, criterion: str = "reward") -> None:
        self.scorer = scorer
        self.criterion = criterion
        self.name = scorer.name

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts in order."""
        for start in range(0, len(comparisons), WINDOW):
            part = comparisons[start : start + WINDOW]
            for at, scored in enumerate(self.scorer.score([answers_only(comparison) for comparison in part])):
                yield start + at, verdict_of(part[at], scored)


def answers_only(comparison: Comparison) -> Comparison:
    """The comparison without helpers, so that a scorer's K is the number of answers."""
    return replace(comparison, candidates=[comparison.candidates[at] for at in answers_of(comparison)])


def verdict_of(comparison: Comparison, scored: Scored) -> Verdict:
    """A scorer's numbers as a verdict; what is not a number is unparsed, never a score."""
    answers = answers_of(comparison)
    values = dict(zip(answers, scored.ranking_scores(), strict=True))
    if not all(math.isfinite(value) for value in values.values()):
        return Verdict("unparsed", details={"found": [str(value) for value in values.values()]})
    dimensions = {
        name: spread(comparison, dict(zip(answers, row, strict=True))) for name, row in scored.dimensions.items()
    }
    confidence = _sigmoid(scored.gap(0, 1)) if len(answers) == 2 else None
    return Verdict("judged", spread(comparison, values), dimensions, confidence)


def _sigmoid(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))


class JudgeScorer:
    """Any judge as a scorer, the other way round: so that benchmarks and best-of-n take it like a preference model.

    Args:
        judge: see `assent.judging.Judge`.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.name = judge.name

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """One result for each comparison; a candidate without a verdict is NaN, never a number."""
        found: dict[int, Scored] = {}
        for at, verdict in self.judge.judge(comparisons):
            count = len(comparisons[at].candidates)
            given = verdict.scores if verdict.status == "judged" else (None,) * count
            rewards = tuple(math.nan if value is None else value for value in given)
            found[at] = Scored(rewards, preference=_graded(verdict, count))
        return [found[at] for at in range(len(comparisons))]


def _graded(verdict: Verdict, count: int) -> tuple[tuple[float, ...], ...] | None:
    """The logits of a judge that says how sure it is of two answers; None where the scores say it all."""
    if verdict.status != "judged" or verdict.confidence is None or count != 2:
        return None
    sure = min(max(verdict.confidence, CERTAIN), 1 - CERTAIN)
    logit = math.log(sure / (1 - sure))
    return ((0.0, logit), (-logit, 0.0))
