"""Which comparisons should people judge, and which a model? Routing under a budget of human labels.

Source: Miranda, Wang et al. 2024 (hybrid preferences), arXiv 2410.19133.

    mix            the set of comparisons that get the human label; c its counts of each binary feature
    predictor      metric of a preference model trained on a mix, as a function of c: linear or quadratic
    gain           linear: coefficients . f;  quadratic: predictor(f) - predictor(0), from an empty mix
    routing        the budget's comparisons of largest gain (ties by position); nested in the budget

Departures, each for a reason: an interval of a binned feature is [low, high), the last one closed, in counting and in
gains alike; length percentiles are ranked once on the whole set, otherwise a subset's bins carry only its size; the
union of entities counts both responses; least squares is ridged, since 90 features give more monomials than mixes.
Quadratic gains do not add up, so the predicted score of a mix is always taken from its counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, spearmanr

from assent.errors import InputError

Array = NDArray[np.float64]
Features = NDArray[np.bool_]
"""[N, F] which comparison has which feature."""

EDGES = (1 / 3, 2 / 3)


@dataclass(frozen=True)
class Predictor:
    """Predicts the metric of a mix from its feature counts.

    Args:
        powers: for each term the exponents of the features.
        weights: of each term.
        intercept: prediction of an empty mix.
        scale: what counts are divided by before they are raised to powers.
    """

    powers: NDArray[np.int64]
    weights: Array
    intercept: float
    scale: Array

    def predict(self, counts: ArrayLike) -> Array:
        """[M] predicted metric of mixes with the given counts [M, F]."""
        return np.asarray(
            _terms(np.asarray(counts, dtype=np.float64) / self.scale, self.powers) @ self.weights + self.intercept
        )

    def gains(self, features: Features) -> Array:
        """[N] what routing each comparison to people is worth, from an empty mix."""
        values = features.astype(np.float64)
        return np.asarray(self.predict(values) - self.predict(np.zeros((1, values.shape[1]))))


def fit_predictor(counts: ArrayLike, metric: ArrayLike, degree: Literal[1, 2] = 2, ridge: float = 0.0) -> Predictor:
    """Least squares on all monomials of the counts up to a degree; minimum-norm where there are too few mixes.

    Args:
        counts: [M, F] features' counts of the mixes.
        metric: [M] metric of the preference model trained on each.
        degree: 1 for linear, 2 for quadratic.
        ridge: penalty on the weights, in units of the number of mixes; the intercept is free.
    """
    table, target = np.asarray(counts, dtype=np.float64), np.asarray(metric, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(target) or len(table) < 2:
        raise InputError("a predictor needs mixes with their metric", found=f"{table.shape} and {target.shape}")
    scale = np.where(table.max(axis=0) > 0, table.max(axis=0), 1.0)
    powers = _powers(table.shape[1], degree)
    design = _terms(table / scale, powers)
    centre = design.mean(axis=0)
    centred = design - centre
    if ridge > 0:
        penalty = ridge * len(table) * np.eye(design.shape[1])
        weights = np.linalg.solve(centred.T @ centred + penalty, centred.T @ (target - target.mean()))
    else:
        weights = np.linalg.lstsq(centred, target - target.mean(), rcond=None)[0]
    return Predictor(powers, weights, float(target.mean() - centre @ weights), scale)


def best_predictor(
    counts: ArrayLike, metric: ArrayLike, seed: int = 0
) -> tuple[Predictor, dict[str, dict[str, float]]]:
    """The predictor with the best rank correlation on a held-out fifth, refitted on all, and the scores of each."""
    table, target = np.asarray(counts, dtype=np.float64), np.asarray(metric, dtype=np.float64)
    if len(table) < 10:
        raise InputError("too few mixes to hold a fifth out", found=str(len(table)), expected="10 or more")
    order = np.random.default_rng(seed).permutation(len(table))
    held, used = order[: len(table) // 5], order[len(table) // 5 :]
    kinds: dict[str, tuple[Literal[1, 2], float]] = {
        "linear": (1, 0.0),
        "linear_ridge": (1, 1e-3),
        "quadratic_ridge": (2, 1e-3),
    }
    scores = {}
    for name, (degree, ridge) in kinds.items():
        found = fit_predictor(table[used], target[used], degree, ridge).predict(table[held])
        scores[name] = prediction_scores(found, target[held])
    best = max(scores, key=lambda name: (scores[name]["spearman"], -scores[name]["rmse"]))
    degree, ridge = kinds[best]
    return fit_predictor(table, target, degree, ridge), scores


def prediction_scores(predicted: ArrayLike, metric: ArrayLike) -> dict[str, float]:
    """Root mean squared error and Spearman correlation (0 where one side is constant)."""
    a, b = np.asarray(predicted, dtype=np.float64), np.asarray(metric, dtype=np.float64)
    constant = len(set(a.tolist())) == 1 or len(set(b.tolist())) == 1
    return {
        "rmse": float(np.sqrt(((a - b) ** 2).mean())),
        "spearman": 0.0 if constant else float(spearmanr(a, b).statistic),
    }


def route(gains: ArrayLike, budget: float) -> list[int]:
    """Indices routed to people, in order of the data: the share (0 to 1) of comparisons with the largest gains."""
    if not 0 <= budget <= 1:
        raise InputError(
            "a budget is a share of the comparisons", field="budget", found=str(budget), expected="0 to 1"
        )
    values = np.asarray(gains, dtype=np.float64)
    count = math.floor(budget * len(values) + 1e-9)
    # A stable sort: equal gains go by position, so budgets are nested and repeatable.
    return sorted(np.argsort(-values, kind="stable")[:count].tolist())


def worth_routing(gains: ArrayLike, smallest: float = 0.0) -> list[int]:
    """Indices whose gain is above a threshold: the routing without a budget."""
    return np.flatnonzero(np.asarray(gains, dtype=np.float64) > smallest).tolist()


def knapsack_mix(features: Features, generator: np.random.Generator) -> list[int]:
    """Indices of a random mix that is rich in a few features, so that counts vary apart from the mix's size."""
    size = int(generator.integers(1, len(features) + 1))
    chosen: dict[int, None] = {}
    for feature in generator.permutation(features.shape[1]):
        for row in generator.permutation(np.flatnonzero(features[:, feature])):
            if len(chosen) >= size:
                return sorted(chosen)
            chosen[int(row)] = None
    for row in generator.permutation(len(features)):
        if len(chosen) >= size:
            break
        chosen[int(row)] = None
    return sorted(chosen)


def feature_counts(features: Features, mix: Sequence[int]) -> Array:
    """[F] how many comparisons of a mix have each feature."""
    counts: Array = features[list(mix)].sum(axis=0).astype(np.float64)
    return counts


def binned(values: ArrayLike, edges: Sequence[float] = EDGES) -> Features:
    """[N, bins] which interval each value falls into; a value that is no number falls into none."""
    numbers = np.asarray(values, dtype=np.float64)
    which = np.searchsorted(np.asarray(edges), numbers, side="right")
    table = np.eye(len(edges) + 1, dtype=bool)[which]
    table[np.isnan(numbers)] = False
    return table


def percentiles(values: ArrayLike) -> Array:
    """[N] average rank of each value among all, divided by N."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.asarray(rankdata(numbers) / len(numbers))


def chosen_labels(
    human: Sequence[str | None], model: Sequence[str | None], routed: Sequence[int]
) -> tuple[list[str | None], list[int]]:
    """The label of each comparison (None for a tie or none), and the indices that keep one.

    Counts of a mix are taken on what remains: a tie leaves the record out.
    """
    people = set(routed)
    labels: list[str | None] = []
    for index, (one, other) in enumerate(zip(human, model, strict=True)):
        label = one if index in people else other
        labels.append(None if label in (None, "tie") else label)
    return labels, [index for index, label in enumerate(labels) if label is not None]


def feature_report(
    predictor: Predictor, features: Features, names: Sequence[str], routed: int = 100
) -> Mapping[str, float]:
    """Predicted gain of routing `routed` comparisons (fewer where there are fewer) with each feature, by name."""
    found = {}
    empty = predictor.predict(np.zeros((1, features.shape[1])))[0]
    for index, name in enumerate(names):
        rows = features[features[:, index]]
        found[name] = (
            float(predictor.predict(rows.mean(axis=0)[None] * min(routed, len(rows)))[0] - empty)
            if len(rows)
            else 0.0
        )
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _powers(features: int, degree: int) -> NDArray[np.int64]:
    """Exponents of all monomials of degree 1 to `degree`."""
    rows = []
    for order in range(1, degree + 1):
        for parts in combinations_with_replacement(range(features), order):
            row = np.zeros(features, dtype=np.int64)
            for part in parts:
                row[part] += 1
            rows.append(row)
    return np.stack(rows)


def _terms(counts: Array, powers: NDArray[np.int64]) -> Array:
    """[M, terms] monomials of counts [M, F], without the constant."""
    columns = []
    for row in powers:
        used = np.flatnonzero(row)
        columns.append(np.prod([counts[:, at] ** row[at] for at in used], axis=0))
    return np.stack(columns, axis=1)
