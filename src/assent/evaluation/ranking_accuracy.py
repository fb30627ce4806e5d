"""Ranking accuracy: how often a policy gives the preferred text more probability.

Source: Chen et al. 2024, arXiv 2405.19534. For a pair (w preferred over l)

    by the policy       log pi(w) > log pi(l)                  what sampling will do
    by the log-ratio    log pi(w)/ref(w) > log pi(l)/ref(l)    what training logs as `rewards/accuracies`

The two differ a lot: a log-ratio can rank nearly all pairs right while the policy still prefers the wrong texts.
Equal values count one half (the source counts them as right, which would give the start, whose log-ratios are all
0, an accuracy of 1). Longer lists count every pair of candidates whose scores differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.evaluation.intervals import Interval, bootstrap_interval


@dataclass(frozen=True)
class RankingAccuracy:
    """Shares of pairs ranked right, with intervals over comparisons.

    Args:
        by_policy: by the log-probability of the whole text.
        by_mean: by the log-probability per token.
        by_log_ratio: by policy over reference; None without a reference.
        pairs: how many pairs were ranked.
    """

    by_policy: Interval
    by_mean: Interval
    by_log_ratio: Interval | None
    pairs: int


def ranking_accuracy(
    comparisons: Sequence[EncodedComparison],
    policy: Sequence[Tensor],
    reference: Sequence[Tensor] | None = None,
    seed: int = 0,
) -> RankingAccuracy:
    """The ranking accuracy on judged comparisons.

    Args:
        comparisons: with scores; candidates that are not judged are left out.
        policy: for each comparison [K] log-probabilities of the completions, in nats.
        reference: the same under the reference.
        seed: of the bootstrap.

    Raises:
        InputError: no pair has a verdict.
    """
    groups, sums, means, ratios = [], [], [], []
    for index, comparison in enumerate(comparisons):
        values = policy[index].tolist()
        others = reference[index].tolist() if reference is not None else values
        scored = [max(1, candidate.scored) for candidate in comparison.candidates]
        for better, worse in _pairs(comparison.scores):
            groups.append(index)
            sums.append(_right(values[better], values[worse]))
            means.append(_right(values[better] / scored[better], values[worse] / scored[worse]))
            ratios.append(_right(values[better] - others[better], values[worse] - others[worse]))
    if not groups:
        raise InputError("no pair to rank", found=f"{len(comparisons)} comparisons", expected="scores that differ")
    return RankingAccuracy(
        by_policy=bootstrap_interval(sums, groups, seed=seed),
        by_mean=bootstrap_interval(means, groups, seed=seed),
        by_log_ratio=None if reference is None else bootstrap_interval(ratios, groups, seed=seed),
        pairs=len(groups),
    )


def _pairs(scores: Sequence[float]) -> list[tuple[int, int]]:
    """(better, worse) columns of every pair of judged candidates whose scores differ."""
    judged = [column for column, score in enumerate(scores) if not math.isnan(score)]
    return [
        (one, other) if scores[one] > scores[other] else (other, one)
        for one, other in combinations(judged, 2)
        if scores[one] != scores[other]
    ]


def _right(better: float, worse: float) -> float:
    return 0.5 if better == worse else float(better > worse)
