"""Agreement beyond chance: Cohen's, Fleiss' and Krippendorff's coefficients.

Sources: Cohen 1960 (through scikit-learn); Fleiss 1971; Krippendorff 2011, "Computing Krippendorff's
alpha-reliability" (nominal, ordinal and interval distances; values may be missing).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import combinations
from typing import Literal

from assent.errors import InputError

Level = Literal["nominal", "ordinal", "interval"]


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable], weights: str | None = None) -> float:
    """Agreement of two judges on the same items; weights "linear" or "quadratic" for ordered verdicts.

    NaN where chance alone would always agree (both use one and the same verdict).
    """
    from sklearn.metrics import cohen_kappa_score

    if len(first) != len(second) or not first:
        raise InputError("both judges need the same items", found=f"{len(first)} and {len(second)}")
    if len({*first, *second}) == 1:
        return math.nan
    return float(cohen_kappa_score(list(first), list(second), weights=weights))


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float:
    """Agreement of as many judges on every item, for counts [items][verdicts].

    kappa = (P - P_e) / (1 - P_e), P the mean share of agreeing pairs of judges, P_e that of chance. NaN where all
    judges always give one verdict.
    """
    judges = {sum(row) for row in counts}
    if len(judges) != 1 or min(judges, default=0) < 2:
        raise InputError(
            "Fleiss' kappa needs the same number (2 or more) of judges on every item",
            found=f"{sorted(judges)[:5]}",
            remedy="Use Krippendorff's alpha, which takes any number",
        )
    n = judges.pop()
    agreed = sum((sum(c * c for c in row) - n) / (n * (n - 1)) for row in counts) / len(counts)
    totals = [sum(column) / (n * len(counts)) for column in zip(*counts, strict=True)]
    chance = sum(share * share for share in totals)
    return math.nan if chance == 1 else (agreed - chance) / (1 - chance)


def krippendorff_alpha(ratings: Sequence[Sequence[float | None]], level: Level = "nominal") -> float:
    """Agreement of any number of judges [judges][items], None where one did not judge.

    alpha = 1 - observed / expected disagreement, over pairable values. NaN where every value is the same.

    Raises:
        InputError: no item has two values.
    """
    items = [[row[i] for row in ratings if row[i] is not None] for i in range(len(ratings[0]) if ratings else 0)]
    paired = [[float(value) for value in item if value is not None] for item in items if len(item) >= 2]
    if not paired:
        raise InputError("agreement needs an item with two verdicts", found=f"{len(items)} items")
    totals = Counter(value for item in paired for value in item)
    distance = _distance(totals, level)
    count = sum(totals.values())
    observed = sum(2 * sum(distance(a, b) for a, b in combinations(item, 2)) / (len(item) - 1) for item in paired)
    expected = sum(2 * totals[a] * totals[b] * distance(a, b) for a, b in combinations(sorted(totals), 2)) / (
        count - 1
    )
    return math.nan if expected == 0 else 1 - observed / expected


def _distance(totals: Mapping[float, int], level: Level) -> Callable[[float, float], float]:
    if level == "nominal":
        return lambda a, b: float(a != b)
    if level == "interval":
        return lambda a, b: (a - b) ** 2
    if level != "ordinal":
        raise InputError("unknown level", found=repr(level), expected="nominal, ordinal or interval")
    order = sorted(totals)

    def between(a: float, b: float) -> float:
        low, high = sorted((a, b))
        inside = sum(totals[value] for value in order if low <= value <= high)
        return (inside - (totals[low] + totals[high]) / 2) ** 2 if low != high else 0.0

    return between
