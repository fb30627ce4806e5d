"""Runs a routing: random mixes, a proxy reward model on each, the predictor, and the routed set.

The proxy is a Bradley-Terry model on frozen features (logistic regression on differences): a mix costs milliseconds
instead of a training run. The metric is accuracy on comparisons that stand apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assent.building.route import (
    best_predictor,
    chosen_labels,
    feature_counts,
    feature_report,
    knapsack_mix,
    route,
)
from assent.building.route_features import RouteFeatures, route_features
from assent.comparison import Comparison
from assent.errors import InputError
from assent.preference_models.encoders import build_encoder
from assent.preference_models.frozen import Reading, read_features, texts_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RoutingJob:
    """How labels are routed.

    Args:
        human: name of people's score among the candidates' `scores`.
        machine: name of the model's score there.
        budget: share of the comparisons that people may judge.
        mixes: random mixes on which the predictor is fitted.
        features: the proxy's features, as under `features:` of a run file.
        seed: of the mixes and of the random baseline.
    """

    human: str = "human"
    machine: str = "machine"
    budget: float = 0.25
    mixes: int = 200
    features: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class Routed:
    """The routing and what it rests on.

    Args:
        comparisons: the data with the chosen labels; `meta.routed` says who judged or should.
        gains: of each comparison.
        predictors: held-out error and rank correlation of each kind of predictor.
        predicted: metric predicted at budgets of 0, 25, 50, 75 and 100 per cent.
        measured: the proxy's metric for people only, model only, routed and random at the budget; where labels allow.
        features: predicted gain of routing 100 comparisons with each feature, best first.
        to_judge: how many routed comparisons have no human label yet.
    """

    comparisons: list[Comparison]
    gains: list[float]
    predictors: Mapping[str, Mapping[str, float]]
    predicted: Mapping[str, float]
    measured: Mapping[str, float]
    features: Mapping[str, float]
    to_judge: int


def route_labels(
    comparisons: Sequence[Comparison],
    test: Sequence[Comparison],
    job: RoutingJob,
    progress: Callable[[int, int], None] | None = None,
    similarity: Mapping[str, Sequence[float]] | None = None,
) -> Routed:
    """Routes comparisons with both labels on some; the predictor is fitted where both are there.

    Args:
        comparisons: two answers each, `scores` with the model's verdict on all and people's on some.
        test: comparisons with a `score`, on which the proxy is measured; none of them among the first.
        job: how.
        progress: called with how many mixes of how many are done.
        similarity: further features, see `route_features`.
    """
    verdicts = {
        name: [_verdict(c, scores) for c in comparisons]
        for name, scores in (("human", job.human), ("machine", job.machine))
    }
    _check(comparisons, test, verdicts, job)
    described = route_features(comparisons, similarity)
    proxy = _Proxy(comparisons, test, job.features)
    both = [index for index, label in enumerate(verdicts["human"]) if label is not None]
    counts, metric = _mixes(described, verdicts, both, proxy, job, progress)
    predictor, scores = best_predictor(counts, metric, job.seed)
    gains = predictor.gains(described.table)
    routed = route(gains, job.budget)
    shares = {f"{share:.0%}": route(gains, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)}
    predicted = {
        name: float(predictor.predict(feature_counts(described.table, rows)[None])[0])
        if rows
        else predictor.intercept
        for name, rows in shares.items()
    }
    return Routed(
        comparisons=_with_labels(comparisons, verdicts, routed, job),
        gains=gains.tolist(),
        predictors=scores,
        predicted=predicted,
        measured=_measured(verdicts, routed, both, proxy, job),
        features=feature_report(predictor, described.table, described.names),
        to_judge=sum(verdicts["human"][index] is None for index in routed),
    )


class _Proxy:
    """Frozen features of all comparisons, read once; a mix is a logistic regression."""

    def __init__(
        self, comparisons: Sequence[Comparison], test: Sequence[Comparison], options: Mapping[str, Any]
    ) -> None:
        given = dict(options)
        reading = Reading(interaction=bool(given.pop("interaction", False)))
        encoder = build_encoder(given)
        encoder.fit(texts_of(comparisons, reading))
        self.train = self._differences(comparisons, encoder, reading)
        self.test = self._differences(test, encoder, reading)
        self.right = np.array([_best_first(c) for c in test])
        spread = self.train.std(axis=0)
        scale = np.where(spread > 1e-8, spread, 1.0)
        self.train, self.test = self.train / scale, self.test / scale

    def _differences(self, comparisons: Sequence[Comparison], encoder: Any, reading: Reading) -> Array:
        features = read_features(comparisons, encoder, reading).candidates.double().numpy()
        return np.asarray(features[:, 0] - features[:, 1])

    def metric(self, labels: Sequence[str | None], kept: Sequence[int]) -> float:
        """Accuracy on the test comparisons of a model trained on labelled comparisons."""
        from sklearn.linear_model import LogisticRegression

        rows = self.train[list(kept)]
        sign = np.array([1.0 if labels[index] == "a" else -1.0 for index in kept])
        # Every pair in both orders: the classes are balanced and no intercept is needed.
        both, target = np.concatenate([rows, -rows]), np.concatenate([sign, -sign])
        model = LogisticRegression(C=0.1, fit_intercept=False, max_iter=300).fit(both, target)
        return float(((self.test @ model.coef_[0] > 0) == self.right).mean())


def _mixes(
    described: RouteFeatures,
    verdicts: Mapping[str, list[str | None]],
    both: list[int],
    proxy: _Proxy,
    job: RoutingJob,
    progress: Callable[[int, int], None] | None,
) -> tuple[Array, Array]:
    generator = np.random.default_rng(job.seed)
    table = described.table[both]
    counts, metric = [], []
    for done in range(job.mixes):
        mix = [both[index] for index in knapsack_mix(table, generator)]
        labels, kept = chosen_labels(verdicts["human"], verdicts["machine"], mix)
        usable = [index for index in kept if index in set(both)]
        remaining = sorted(set(mix) & set(usable))
        if len(usable) < 2:
            continue
        counts.append(feature_counts(described.table, remaining))
        metric.append(proxy.metric(labels, usable))
        if progress is not None:
            progress(done + 1, job.mixes)
    return np.stack(counts), np.array(metric)


def _measured(
    verdicts: Mapping[str, list[str | None]], routed: list[int], both: list[int], proxy: _Proxy, job: RoutingJob
) -> dict[str, float]:
    """The proxy's metric of four ways to label the comparisons that have both labels."""
    known = set(both)
    share = len(known & set(routed)) / len(known)
    random = np.random.default_rng(job.seed + 1).permutation(both)[: round(share * len(both))].tolist()
    ways = {"people only": both, "model only": [], "routed": sorted(known & set(routed)), "random": random}
    found = {"share of people among routed": share}
    for name, mix in ways.items():
        labels, kept = chosen_labels(verdicts["human"], verdicts["machine"], mix)
        found[name] = proxy.metric(labels, [index for index in kept if index in known])
    return found


def _with_labels(
    comparisons: Sequence[Comparison], verdicts: Mapping[str, list[str | None]], routed: list[int], job: RoutingJob
) -> list[Comparison]:
    """The comparisons with the chosen label as scores; no scores where the label is a tie or still to be bought."""
    labels, _ = chosen_labels(verdicts["human"], verdicts["machine"], routed)
    people = set(routed)
    result = []
    for index, (comparison, label) in enumerate(zip(comparisons, labels, strict=True)):
        marks = {"a": (1.0, 0.0), "b": (0.0, 1.0), None: (None, None)}[label]
        changed = [replace(c, score=mark) for c, mark in zip(comparison.answers, marks, strict=True)]
        judge = "people" if index in people else "model"
        waiting = index in people and verdicts["human"][index] is None
        meta = {**comparison.meta, "routed": judge, **({"label_wanted": True} if waiting else {})}
        result.append(replace(comparison, candidates=tuple(changed), meta=meta, confidence=None))
    return result


def _verdict(comparison: Comparison, name: str) -> str | None:
    """`a`, `b` or `tie` by the named scores of the two answers; None where one is missing."""
    answers = comparison.answers
    if len(answers) != 2 or len(comparison.candidates) != 2:
        raise InputError("routing needs two answers and nothing else", where=comparison.key[:12])
    first, second = (candidate.scores.get(name) for candidate in answers)
    if first is None or second is None:
        return None
    return "tie" if first == second else "a" if first > second else "b"


def _best_first(comparison: Comparison) -> bool:
    answers = comparison.answers
    scores = [candidate.score for candidate in answers]
    if len(answers) != 2 or None in scores or scores[0] == scores[1]:
        raise InputError("a test comparison needs two answers with different scores", where=comparison.key[:12])
    return (scores[0] or 0) > (scores[1] or 0)


def _check(
    comparisons: Sequence[Comparison],
    test: Sequence[Comparison],
    verdicts: Mapping[str, list[str | None]],
    job: RoutingJob,
) -> None:
    missing = [index for index, label in enumerate(verdicts["machine"]) if label is None]
    if missing:
        raise InputError(
            "every comparison needs the model's verdict",
            where=comparisons[missing[0]].key[:12],
            field=f"scores.{job.machine}",
            found=f"{len(missing)} of {len(comparisons)} without it",
            remedy="Judge them first (`assent judge`), or name the score (`--machine`)",
        )
    known = sum(label is not None for label in verdicts["human"])
    if known < 20 or not test:
        raise InputError(
            "the predictor learns from comparisons that both judged, and a metric needs test comparisons",
            field=f"scores.{job.human}",
            found=f"{known} with both labels, {len(test)} test comparisons",
            expected="20 or more, and at least one",
        )
    shared = {c.key for c in comparisons} & {c.key for c in test}
    if shared:
        raise InputError("test comparisons among the data", found=f"{len(shared)} records")
