"""Which properties of an answer drive an agent's preferences, and how far two agents agree on them (PROFILE).

Source: Oh et al. 2024, arXiv 2410.06965. For a factor f and the pairs that an agent does not tie,

    M = sign(v(first) - v(second)),   C = #{M = p},  D = #{M = -p},  T = #{M = 0}
    tau14 = (C - D) / (C + D + T)

p is +1 where the agent prefers the first answer, -1 where the second. +1: always prefers more of the factor. Ties
of the factor weaken the score, ties of the preference stay out. The score is a marginal association: correlated
factors carry each other, which `factor_correlation` shows. A regression on the factors' differences separates them;
one on their signs (`dissection`) only in part, since a twin of the same sign tells that the factor differs by much.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FactorScore:
    """Counts over the pairs without a tied preference, and the three conventions for tied factors."""

    concordant: int
    discordant: int
    factor_ties: int

    @property
    def tau14(self) -> float | None:
        """(C - D) / (C + D + T); None where every preference is tied."""
        total = self.concordant + self.discordant + self.factor_ties
        return (self.concordant - self.discordant) / total if total else None

    @property
    def tau10(self) -> float | None:
        """(C - D - T) / (C + D + T)."""
        total = self.concordant + self.discordant + self.factor_ties
        return (self.concordant - self.discordant - self.factor_ties) / total if total else None

    @property
    def tau13(self) -> float | None:
        """(C - D) / (C + D)."""
        total = self.concordant + self.discordant
        return (self.concordant - self.discordant) / total if total else None


def factor_score(manifestation: Array, preference: Array) -> FactorScore:
    """The score of one factor from signs of N pairs ([N] in -1, 0, 1 each)."""
    decided = preference != 0
    agreement = manifestation[decided] * preference[decided]
    return FactorScore(int((agreement > 0).sum()), int((agreement < 0).sum()), int((agreement == 0).sum()))


def manifestation(first: Array, second: Array, tolerance: float = 0.0) -> Array:
    """[N] sign of the difference of two answers' factor values, 0 within the tolerance."""
    gap = first - second
    return np.where(np.abs(gap) <= tolerance, 0.0, np.sign(gap))


def generation_score(target: Sequence[float], values: Sequence[Array]) -> FactorScore:
    """The score of one factor from answers that were written for target scores.

    Args:
        target: [S] the scores asked for.
        values: for each prompt [S] the factor's value of the answer written for each target.
    """
    signs = [
        (float(np.sign(row[i] - row[j])), float(np.sign(target[i] - target[j])))
        for row in values
        for i, j in itertools.combinations(range(len(target)), 2)
    ]
    pairs = np.array(signs, dtype=np.float64).reshape(-1, 2)
    return factor_score(pairs[:, 0], pairs[:, 1])


def score_interval(
    manifested: Array, preference: Array, prompts: Sequence[str], rounds: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """The 95% bootstrap interval of tau14 over prompts; None where it is undefined."""
    groups: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(index)
    members, generator, scores = list(groups.values()), np.random.default_rng(seed), []
    for _ in range(rounds):
        drawn = np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))])
        value = factor_score(manifested[drawn], preference[drawn]).tau14
        if value is not None:
            scores.append(value)
    if not scores:
        return None
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class ProfileAlignment:
    """Correlations of two profiles over their common factors; None where one of them is constant."""

    pearson: float | None
    spearman: float | None
    kendall: float | None
    factors: int


def align_profiles(mine: Mapping[str, float | None], theirs: Mapping[str, float | None]) -> ProfileAlignment:
    """How far two agents' factor scores agree, in value (Pearson) and in order (Spearman, Kendall's tau-b)."""
    common = [name for name in mine if mine[name] is not None and theirs.get(name) is not None]
    a, b = (np.array([profile[name] for name in common], dtype=np.float64) for profile in (mine, theirs))
    if len(common) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return ProfileAlignment(None, None, None, len(common))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return ProfileAlignment(
            float(stats.pearsonr(a, b).statistic),
            float(stats.spearmanr(a, b).statistic),
            float(stats.kendalltau(a, b).statistic),
            len(common),
        )


def factor_correlation(manifested: Mapping[str, Array]) -> dict[tuple[str, str], float]:
    """Pearson correlation of every two factors that vary; high ones mean that tau14 cannot tell them apart."""
    varying = {name: values for name, values in manifested.items() if np.ptp(values) > 0}
    return {
        (first, second): float(np.corrcoef(varying[first], varying[second])[0, 1])
        for first, second in itertools.combinations(varying, 2)
    }


def response_agreement(mine: Array, theirs: Array) -> float | None:
    """Share of pairs with the same choice, among those that neither ties."""
    decided = (mine != 0) & (theirs != 0)
    return float((mine[decided] == theirs[decided]).mean()) if decided.any() else None


def text_factors(response: Sequence[str], source: Sequence[str] = ()) -> dict[str, float]:
    """Factors that a rule can read off the words: length, share of novel words, share of the source's word types."""
    known, used = set(source), set(response)
    factors = {"length": float(len(response))}
    if source and response:
        factors["novel_words"] = sum(word not in known for word in response) / len(response)
        factors["source_words"] = len(known & used) / len(known)
    return factors


def fact_factors(supported: Sequence[bool | int], source_mentioned: Sequence[bool | int] = ()) -> dict[str, float]:
    """Factors from atomic facts: how many, the share not supported, the share of the source's facts mentioned."""
    factors = {"n_facts": float(len(supported))}
    if supported:
        factors["hallucination"] = sum(not fact for fact in supported) / len(supported)
    if source_mentioned:
        factors["source_coverage"] = sum(map(bool, source_mentioned)) / len(source_mentioned)
    return factors
