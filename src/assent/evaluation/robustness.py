"""Hyperparameter robustness: what an objective gives to somebody who cannot tune it.

Source: Ahrabian et al. 2024, arXiv 2407.15229: not only the best run of a grid counts, but how the others fall off.
The share of runs near the best and the expected best of a small budget are our additions. R runs of one objective.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assent.errors import InputError


@dataclass(frozen=True)
class Robustness:
    """The runs of one objective over a grid.

    Args:
        runs: how many, failed ones included.
        failed: how many ended without a score; they count as the worst score seen.
        best: highest score; likewise mean, median, worst.
        deviation: population standard deviation.
        top: mean of the three best.
        near_best: share of runs no more than the tolerance times |best| below the best of all objectives.
        above_start: share of runs that beat the start; None where its score is not known.
        budget: expected best of one, two, ... runs drawn without replacement from the grid.
    """

    runs: int
    failed: int
    best: float
    mean: float
    median: float
    worst: float
    deviation: float
    top: float
    near_best: float
    above_start: float | None
    budget: tuple[float, ...]


def robustness(
    scores: Sequence[float],
    start: float | None = None,
    best: float | None = None,
    tolerance: float = 0.05,
    floor: float | None = None,
) -> Robustness:
    """The summary of one objective's runs.

    Args:
        scores: one for each run, higher is better; NaN for a run that failed.
        start: the score before training.
        best: what `near_best` is measured from; default: the objective's own best.
        tolerance: share of the best that a run may fall short.
        floor: what a failed run counts; default: the worst score of the runs, or the start's if that is lower.

    Raises:
        InputError: no run has a score.
    """
    values = np.asarray(scores, dtype=np.float64)
    known = values[~np.isnan(values)]
    if not len(known):
        raise InputError("no run has a score", found=f"{len(values)} runs")
    lowest = float(min(known.min(), math.inf if start is None else start)) if floor is None else floor
    filled = np.where(np.isnan(values), lowest, values)
    ordered = np.sort(filled)[::-1]
    top = float(ordered[0]) if best is None else best
    return Robustness(
        runs=len(values),
        failed=int(np.isnan(values).sum()),
        best=float(ordered[0]),
        mean=float(filled.mean()),
        median=float(np.median(filled)),
        worst=float(ordered[-1]),
        deviation=float(filled.std()),
        top=float(ordered[:3].mean()),
        near_best=float((filled >= top - tolerance * abs(top)).mean()),
        above_start=None if start is None else float((filled > start).mean()),
        budget=tuple(expected_best(filled, count) for count in range(1, len(filled) + 1)),
    )


def expected_best(scores: Sequence[float] | np.ndarray, count: int) -> float:
    """E[max] of `count` of the R scores drawn without replacement, exactly.

    E[max] = sum over r of s_(r) C(r - 1, count - 1) / C(R, count),   s_(1) <= ... <= s_(R)
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    if not 1 <= count <= len(ordered):
        raise InputError(
            "a budget is between one run and all of them", found=str(count), expected=f"1 to {len(ordered)}"
        )
    ways = math.comb(len(ordered), count)
    return float(sum(score * math.comb(rank, count - 1) for rank, score in enumerate(ordered)) / ways)
