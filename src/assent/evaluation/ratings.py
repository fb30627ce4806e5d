"""Ratings of several systems from their battles: Bradley-Terry strengths, Elo scale, bootstrap intervals.

Source: Bradley and Terry 1952; Zheng et al. 2023, arXiv 2306.05685, for the arena practice.

    P(a beats b) = sigmoid(s_a - s_b);   maximise sum w [y log p + (1 - y) log(1 - p)],   y = 1/2 for a tie

Strengths are identified by mean 0. Elo scale: 1000 + 400 s / ln 10. A system that wins or loses every battle has
no finite strength: then a Gaussian prior of variance 1 on each strength is used and `prior` says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

Array = NDArray[np.float64]
Battle = tuple[str, str, float]
"""System a, system b, and 1 if a won, 0 if b won, 1/2 for a tie."""

ELO_CENTRE, ELO_SCALE = 1000.0, 400.0


@dataclass(frozen=True)
class Ratings:
    """Strengths in nats (mean 0) of the systems, and whether a prior was needed to have them finite."""

    systems: tuple[str, ...]
    strength: Array
    prior: bool

    @property
    def elo(self) -> Array:
        """The strengths on the Elo scale, mean 1000."""
        return elo_scale(self.strength)

    def win_probability(self) -> Array:
        """[M, M] probability that the row's system beats the column's."""
        return np.asarray(expit(self.strength[:, None] - self.strength[None]), dtype=np.float64)


def elo_scale(strength: Array) -> Array:
    """Strengths in nats as Elo numbers with mean 1000."""
    return ELO_CENTRE + ELO_SCALE * strength / math.log(10)


def bradley_terry(battles: Sequence[Battle], systems: Sequence[str] | None = None) -> Ratings:
    """The maximum-likelihood ratings of the battles."""
    names = (
        tuple(dict.fromkeys(name for a, b, _ in battles for name in (a, b))) if systems is None else tuple(systems)
    )
    wins = _wins(battles, names)
    prior = not _has_optimum(wins)
    return Ratings(names, _strengths(wins, prior), prior)


def bootstrap_ratings(
    battles: Sequence[Battle], systems: Sequence[str], rounds: Sequence[Sequence[int]]
) -> tuple[Array, bool]:
    """[rounds, M] Elo ratings of resampled battles (each round lists indices), and whether any round took a prior."""
    fits = [bradley_terry([battles[index] for index in indices], systems) for indices in rounds]
    return np.stack([fit.elo for fit in fits]), any(fit.prior for fit in fits)


def resamples(count: int, rounds: int, seed: int, clusters: Sequence[str] | None = None) -> list[list[int]]:
    """Indices of bootstrap rounds; with clusters (the prompt of each battle) whole clusters are drawn."""
    generator = np.random.default_rng(seed)
    if clusters is None:
        return [generator.integers(0, count, count).tolist() for _ in range(rounds)]
    members: dict[str, list[int]] = {}
    for index, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(index)
    groups = list(members.values())
    draws = [generator.integers(0, len(groups), len(groups)) for _ in range(rounds)]
    return [[index for group in draw for index in groups[group]] for draw in draws]


def sequential_elo(battles: Sequence[Battle], systems: Sequence[str], step: float = 4.0) -> Array:
    """Online Elo ratings, which depend on the order of the battles."""
    rating = dict.fromkeys(systems, ELO_CENTRE)
    for a, b, outcome in battles:
        expected = 1 / (1 + 10 ** ((rating[b] - rating[a]) / ELO_SCALE))
        rating[a] += step * (outcome - expected)
        rating[b] -= step * (outcome - expected)
    return np.array([rating[name] for name in systems])


def _wins(battles: Sequence[Battle], names: Sequence[str]) -> Array:
    """[M, M] how often the row's system beat the column's, ties as halves."""
    index = {name: place for place, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for a, b, outcome in battles:
        wins[index[a], index[b]] += outcome
        wins[index[b], index[a]] += 1 - outcome
    return wins


def _has_optimum(wins: Array) -> bool:
    """Whether strengths are finite: every system reaches every other along wins (Ford 1957)."""
    count, _ = connected_components(wins > 0, directed=True, connection="strong")
    return int(count) == 1


def _strengths(wins: Array, prior: bool) -> Array:
    def loss(strength: Array) -> tuple[float, Array]:
        gap = strength[:, None] - strength[None]
        gradient = -(wins * expit(-gap)).sum(1) + (wins * expit(-gap)).sum(0)
        value = (wins * np.logaddexp(0, -gap)).sum()
        return float(value + prior * (strength**2).sum() / 2), gradient + prior * strength

    found = minimize(loss, np.zeros(len(wins)), jac=True, method="BFGS", options={"gtol": 1e-10}).x
    return np.asarray(found - found.mean(), dtype=np.float64)
