"""Biases of a preference model: length, position, style.

Length follows the practice of RewardBench and AlpacaEval: how often the longer answer is preferred, beside how often
the judge prefers it, and accuracy where length speaks for and against the preferred answer. Style features are those
of Chatbot Arena's style control (Li, Angelopoulos, Chiang 2024): headers, lists, bold text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from assent.errors import InputError
from assent.evaluation.pair_outcomes import PairOutcome

STYLES: Mapping[str, re.Pattern[str]] = {
    "headers": re.compile(r"^#{1,6}\s", re.MULTILINE),
    "lists": re.compile(r"^\s*(?:[-*+]|\d+\.)\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
    "code": re.compile(r"^```", re.MULTILINE),
}


@dataclass(frozen=True)
class FeatureBias:
    """How a scorer treats pairs that differ in a feature.

    Args:
        preferred_share: how often the scorer prefers the candidate with more of it.
        judged_share: how often the judge does.
        accuracy_with: accuracy where the judge prefers the candidate with more of it; None without such pairs.
        accuracy_against: where the judge prefers the one with less.
        correlation: Spearman correlation of the feature's difference with the scorer's gap; None if one is constant.
        pairs: pairs that differ in it.
    """

    preferred_share: float
    judged_share: float
    accuracy_with: float | None
    accuracy_against: float | None
    correlation: float | None
    pairs: int

    @property
    def excess(self) -> float:
        """How much more often than the judge the scorer prefers more of it: 0 without bias."""
        return self.preferred_share - self.judged_share


def feature_bias(rows: Sequence[PairOutcome], differences: Sequence[float]) -> FeatureBias | None:
    """The bias for a feature whose differences (preferred minus other) are given; None if no pair differs."""
    if len(rows) != len(differences):
        raise InputError("every pair needs its difference", found=f"{len(rows)} pairs, {len(differences)} values")
    used = [(row, d) for row, d in zip(rows, differences, strict=True) if d != 0 and not math.isnan(row.gap)]
    if not used:
        return None
    more = [row.credit_with_ties if d > 0 else 1 - row.credit_with_ties for row, d in used]
    with_it = [row.credit for row, d in used if d > 0]
    against = [row.credit for row, d in used if d < 0]
    # Both orders of each pair: otherwise the correlation would only say that the judge likes the feature.
    gaps = np.array([row.gap for row, _ in used])
    size = np.array([float(d) for _, d in used])
    doubled = np.concatenate([gaps, -gaps]), np.concatenate([size, -size])
    varying = len(set(doubled[0].tolist())) > 1 and len(set(doubled[1].tolist())) > 1
    return FeatureBias(
        preferred_share=sum(more) / len(more),
        judged_share=len(with_it) / len(used),
        accuracy_with=sum(with_it) / len(with_it) if with_it else None,
        accuracy_against=sum(against) / len(against) if against else None,
        correlation=float(spearmanr(*doubled).statistic) if varying else None,
        pairs=len(used),
    )


def length_bias(rows: Sequence[PairOutcome]) -> FeatureBias | None:
    """The bias for longer answers, in characters."""
    return feature_bias(rows, [row.lengths[0] - row.lengths[1] for row in rows])


def position_bias(rows: Sequence[PairOutcome]) -> FeatureBias | None:
    """The bias for the candidate that stands first in the record; scorers that read one at a time have none."""
    return feature_bias(rows, [1.0 if row.preferred_first else -1.0 for row in rows])


def style_biases(rows: Sequence[PairOutcome]) -> Mapping[str, FeatureBias]:
    """The bias for each element of style that occurs in some pair."""
    found = {}
    for name, pattern in STYLES.items():
        counts = [len(pattern.findall(row.texts[0])) - len(pattern.findall(row.texts[1])) for row in rows]
        bias = feature_bias(rows, counts)
        if bias is not None:
            found[name] = bias
    return found
