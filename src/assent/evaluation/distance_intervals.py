"""Distances between two sets of pictures with intervals: how far they would move with other pictures of both sets.

Source: the delete-a-group jackknife (Quenouille 1949; Kott 2001). Both sets are cut into G groups at random; every
measure is taken again without each group of either set, and

    variance = sum over both sets of (G - 1) / G sum_g (v_g - mean v)^2,    interval v +- t_{G-1} sqrt(variance)

A bootstrap would draw pictures twice, which these measures, built on nearest neighbours and covariances, take for a
change of the pictures. The interval says nothing of the bias that the Frechet distance has with few pictures: the
kernel distance has none.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from assent.errors import InputError
from assent.evaluation.image_distances import Features, Neighbours, frechet_distance, kernel_distance
from assent.evaluation.intervals import Interval

GROUPS = 20
UNIT = ("coverage", "precision", "recall")
"""Measures that are shares."""
Rows = NDArray[np.intp]


def distances_with_intervals(
    generated: Features, real: Features, k: int = 5, level: float = 0.95, groups: int = GROUPS, seed: int = 0
) -> dict[str, Interval]:
    """Every distance between the two sets by its name, each with its interval.

    Args:
        generated: [N, D] features.
        real: [M, D], of the same network.
        k: neighbours of density, coverage, precision and recall.
        level: confidence level.
        groups: G, at most half as many as there are pictures of either set.
        seed: of the cut into groups.

    Raises:
        InputError: sets that cannot be compared, or too few pictures for an interval.
    """
    neighbours = Neighbours.of(generated, real)
    groups = min(groups, len(generated) // (k + 2), len(real) // (k + 2))
    if groups < 2:
        raise InputError(
            "too few pictures for an interval",
            found=f"{len(generated)} generated and {len(real)} real",
            expected=f"{2 * (k + 2)} of each or more",
        )
    first, second = np.asarray(generated, dtype=np.float64), np.asarray(real, dtype=np.float64)

    def measured(some: Rows, others: Rows) -> dict[str, float]:
        found = {
            "frechet_distance": frechet_distance(first[some], second[others]),
            "kernel_distance": kernel_distance(first[some], second[others]),
        }
        return found | asdict(neighbours.among(some, others).manifold(k))

    everything = np.arange(len(first)), np.arange(len(second))
    values = measured(*everything)
    variances = dict.fromkeys(values, 0.0)
    generator = np.random.default_rng(seed)
    for side, rows in enumerate(everything):
        cut = generator.permutation(len(rows)) % groups
        without = [measured(*_replaced(everything, side, rows[cut != group])) for group in range(groups)]
        for name in values:
            spread = np.var([one[name] for one in without])
            variances[name] += float((groups - 1) * spread)
    reach = float(student.ppf((1 + level) / 2, groups - 1))
    count = min(len(first), len(second))
    return {name: _interval(name, values[name], reach * variances[name] ** 0.5, count, level) for name in values}


def _replaced(rows: tuple[Rows, Rows], side: int, fewer: Rows) -> tuple[Rows, Rows]:
    return (fewer, rows[1]) if side == 0 else (rows[0], fewer)


def _interval(name: str, value: float, half: float, count: int, level: float) -> Interval:
    lowest = -np.inf if name == "kernel_distance" else 0.0
    highest = 1.0 if name in UNIT else np.inf
    return Interval(max(value - half, lowest), value, min(value + half, highest), count, level)
