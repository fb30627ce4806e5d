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
from assent.judging.verdict import Verdict, answers_of, spread
from assent.preference_models import Scored, Scorer

WINDOW = 64


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
