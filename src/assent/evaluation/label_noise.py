"""How many labels of a set are wrong, and which: what a model's opinion of them says, before any training.

The estimate is LCPO's (Cao et al. 2025, arXiv 2509.24159; `assent.objectives.reliability`), on the log-odds that any
scorer gives: a preference model, a policy against its reference, a judge. What the model cannot know it holds for
noise: a model that is blind to what the annotators saw finds half of their labels wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.objectives.reliability import estimate_reliability, fit_scale
from assent.preference_models import Scored

UNDECIDED, UNSCORED = "no two candidates with different scores", "the model gave no number"
ITERATIONS = 1000


@dataclass(frozen=True)
class LabelNoise:
    """What a model says of the labels of a set.

    Args:
        labels: how many were looked at: of each comparison its best-scored candidate against its worst.
        left_out: comparisons without a label to look at, by reason.
        noise_rate: expected share of wrong labels.
        interval: its 95% profile-likelihood interval, as if all labels were one annotator's, whatever the scale.
        disagreement: share of the labels that the model contradicts: noise, plus what is hard to tell.
        scale: what the model's log-odds were multiplied by.
        reliability: share of right labels of each annotator; of everyone, under an empty name, where none is named.
        counts: how many labels each annotator gave.
        probability_right: of each label, by the comparison's index.
    """

    labels: int
    left_out: Mapping[str, int]
    noise_rate: float
    interval: tuple[float, float]
    disagreement: float
    scale: float
    reliability: Mapping[str, float]
    counts: Mapping[str, int]
    probability_right: Mapping[int, float]

    def suspicious(self, count: int = 50) -> list[int]:
        """Indices of the comparisons whose labels are most likely wrong, worst first."""
        return sorted(self.probability_right, key=lambda index: self.probability_right[index])[:count]


def label_noise(
    comparisons: Sequence[Comparison], scored: Sequence[Scored], scale: float | None = None
) -> LabelNoise:
    """The estimate for a set, from what a model says of it.

    Args:
        comparisons: the set; a comparison without two differently scored candidates has no label and is counted.
        scored: one result for each.
        scale: what to multiply the model's log-odds by, 1 for a calibrated model; default: fitted to the labels.
    """
    left_out: Counter[str] = Counter()
    gaps: dict[int, float] = {}
    for index, (comparison, result) in enumerate(zip(comparisons, scored, strict=True)):
        pair = best_and_worst(comparison)
        if pair is None:
            left_out[UNDECIDED] += 1
        elif math.isfinite(gap := result.gap(*pair)):
            gaps[index] = gap
        else:
            left_out[UNSCORED] += 1
    if not gaps:
        raise InputError(
            "no label whose noise could be estimated",
            found=", ".join(f"{count} comparisons: {reason}" for reason, count in left_out.items())
            or "no comparison",
            expected="comparisons with two candidates of different scores",
        )
    log_odds = torch.tensor(list(gaps.values()), dtype=torch.float64)
    fitted = fit_scale(log_odds, None if scale is None else [scale])
    annotators = [comparisons[index].annotator for index in gaps]
    found = estimate_reliability(fitted.factor * log_odds, annotators, iterations=ITERATIONS)
    low, high = fitted.interval
    return LabelNoise(
        labels=len(gaps),
        left_out=dict(left_out),
        noise_rate=found.noise_rate,
        interval=(1 - high, 1 - low),
        disagreement=float((log_odds < 0).double().mean()),
        scale=fitted.factor,
        reliability=found.reliability,
        counts=found.counts,
        probability_right=dict(zip(gaps, found.confidence.tolist(), strict=True)),
    )


def best_and_worst(comparison: Comparison) -> tuple[int, int] | None:
    """Positions of the best-scored and the worst-scored candidate, the first of equals; None where all are equal."""
    judged = [at for at, candidate in enumerate(comparison.candidates) if candidate.judged]
    if not judged:
        return None
    best = max(judged, key=lambda at: _score(comparison.candidates[at]))
    worst = min(judged, key=lambda at: _score(comparison.candidates[at]))
    return None if _score(comparison.candidates[best]) == _score(comparison.candidates[worst]) else (best, worst)


def _score(candidate: Candidate) -> float:
    return math.nan if candidate.score is None else candidate.score
