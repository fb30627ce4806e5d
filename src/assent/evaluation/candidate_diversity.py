"""Do the candidates people choose among differ in what they value? And how do people agree?

Source: Zhang, Milli et al. 2025 (Community Alignment), arXiv 2507.09650; Vendi score: Friedman and Dieng 2022,
arXiv 2210.02410. Formulas are ours where the source gives words.

    coverage of v          share of candidate sets with a response of value v; i.i.d.: 1 - (1 - p_v)^K
    correlation ratio      sum_v Var(n_v) / sum_v K p_v (1 - p_v): below 1 negatively correlated, 1 independent
    pair disagreement      share of candidate pairs in different categories
    Vendi score            exp of the entropy of the eigenvalues of the cosine kernel / K
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assent.errors import InputError

Categories = Sequence[Sequence[int]]
"""For each set, the category of each of its K candidates."""


@dataclass(frozen=True)
class Coverage:
    """How often each value is on offer; compare only samplers with equal K, for coverage grows with K."""

    by_value: tuple[float, ...]
    share_of_responses: tuple[float, ...]
    all_values: float

    @property
    def mean(self) -> float:
        """Over values."""
        return sum(self.by_value) / len(self.by_value)

    @property
    def least(self) -> float:
        """Of the value that is offered least."""
        return min(self.by_value)


def value_coverage(labels: Sequence[Sequence[Sequence[int]]]) -> Coverage:
    """Coverage of labels [sets][candidates][values], 1 where a response speaks for a value."""
    table = np.asarray(labels, dtype=bool)
    if table.ndim != 3 or not table.size:
        raise InputError("labels are sets of candidates of values, all of one size", found=str(table.shape))
    present = np.asarray(table.any(axis=1))
    return Coverage(
        tuple(present.mean(axis=0).tolist()),
        tuple(table.mean(axis=(0, 1)).tolist()),
        float(np.mean(present.sum(axis=1) == present.shape[1])),
    )


def independent_coverage(shares: Sequence[float], candidates: int) -> list[float]:
    """Coverage of each category by K independent draws: 1 - (1 - p)^K."""
    return [-math.expm1(candidates * math.log1p(-p)) if p < 1 else 1.0 for p in shares]


def independent_disagreement(shares: Sequence[float]) -> float:
    """Chance that two independent draws differ: 1 - sum p^2."""
    return 1 - sum(p * p for p in shares)


def correlation_ratio(sets: Categories, categories: int) -> float:
    """Variance of the categories' counts over sets, by that of independent draws with the same shares."""
    counts = np.array([[list(one).count(v) for v in range(categories)] for one in sets], dtype=np.float64)
    width = counts.sum(axis=1)
    if not len(counts) or len(set(width.tolist())) != 1:
        raise InputError("sets of one size are needed", found=str(sorted(set(width.tolist()))))
    shares = counts.mean(axis=0) / width[0]
    independent = (width[0] * shares * (1 - shares)).sum()
    return float(counts.var(axis=0).sum() / independent) if independent else math.nan


def distinct_ratio(categories: Sequence[int]) -> float:
    """Different categories by candidates: 1/K to 1."""
    return len(set(categories)) / len(categories)


def entropy(categories: Sequence[int]) -> float:
    """Entropy of the categories in a set, in nats."""
    shares = [count / len(categories) for count in Counter(categories).values()]
    return -sum(share * math.log(share) for share in shares)


def pair_disagreement(categories: Sequence[int]) -> float:
    """Share of candidate pairs in different categories."""
    count = len(categories)
    same = sum(c * (c - 1) for c in Counter(categories).values())
    return 1 - same / (count * (count - 1))


def vendi_score(vectors: ArrayLike) -> float:
    """How many different candidates a set is worth: 1 for equal vectors, K for orthogonal ones."""
    kernel = cosine_kernel(vectors)
    values = np.linalg.eigvalsh(kernel / len(kernel))
    positive = values[values > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def cosine_kernel(vectors: ArrayLike) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """[K, K] cosines; a zero vector is like nothing but itself."""
    rows = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(norms > 0, norms, 1)
    kernel = unit @ unit.T
    np.fill_diagonal(kernel, 1.0)
    return kernel


@dataclass(frozen=True)
class Overlap:
    """How people who chose among the same candidates agree.

    Args:
        pair_agreement: share of pairs of people who chose the same.
        entropy: of their choices, in nats.
        plurality: share that the best single response satisfies: what a personal model must beat.
        people: how many chose.
    """

    pair_agreement: float
    entropy: float
    plurality: float
    people: int


def choice_overlap(choices: Sequence[int | None]) -> Overlap:
    """The overlap of choices among one prompt's candidates; None is a missing choice."""
    given = [choice for choice in choices if choice is not None]
    people = len(given)
    if people < 2:
        raise InputError("overlap needs two people", found=str(people))
    counts = Counter(given).values()
    return Overlap(
        sum(c * (c - 1) for c in counts) / (people * (people - 1)), entropy(given), max(counts) / people, people
    )


def group_distance(
    choices: Mapping[str, Sequence[int]], candidates: int, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Total variation between two groups' choice distributions, and its permutation p-value."""
    if len(choices) != 2 or not all(choices.values()):
        raise InputError("exactly two groups with choices", found=", ".join(choices))
    first, second = (np.asarray(values) for values in choices.values())

    def distance(a: ArrayLike, b: ArrayLike) -> float:
        shares = [np.bincount(x, minlength=candidates) / len(x) for x in (np.asarray(a), np.asarray(b))]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)

    found = distance(first, second)
    pooled, generator = np.concatenate([first, second]), np.random.default_rng(seed)
    beyond = 0
    for _ in range(rounds):
        mixed = generator.permutation(pooled)
        beyond += distance(mixed[: len(first)], mixed[len(first) :]) >= found - 1e-12
    return found, (beyond + 1) / (rounds + 1)


def pareto_improves(after: Sequence[float], before: Sequence[float]) -> bool:
    """Whether every value is at least as good and one is better."""
    pairs = list(zip(after, before, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def win_rate(judgements: Sequence[float]) -> tuple[float, float]:
    """Mean of verdicts (1, 1/2, 0) and its standard error with n - 1."""
    if len(judgements) < 2:
        raise InputError("a standard error needs two verdicts", found=str(len(judgements)))
    values = np.asarray(judgements, dtype=np.float64)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
