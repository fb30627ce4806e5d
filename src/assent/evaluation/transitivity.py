"""Cycles: does a preference model (or a judge) contradict itself?

A triple is cyclic if a beats b, b beats c and c beats a. A scalar has none; a quarter of the triples of a random
tournament are cyclic. Ties and missing verdicts decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from assent.preference_models import Scored

Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Transitivity:
    """How often preferences run in circles.

    Args:
        cyclic_share: cyclic triples among the triples decided in all three pairs; None without such triples.
        triples: how many were decided.
        cyclic_lists: comparisons whose preferences hold a cycle of any length, as a share; None without lists.
        lists: comparisons of three and more candidates.
        disagreement: mean |logit(i, j) + logit(j, i)|: 0 for a model that is consistent under swapping.
    """

    cyclic_share: float | None
    triples: int
    cyclic_lists: float | None
    lists: int
    disagreement: float


def transitivity(scored: Sequence[Scored]) -> Transitivity:
    """The transitivity of the preferences in some results."""
    triples = cyclic = lists = circular = 0
    asymmetries: list[float] = []
    for result in scored:
        count = len(result.ranking_scores())
        matrix = [[result.gap(i, j) if i != j else 0.0 for j in range(count)] for i in range(count)]
        decided, found = cyclic_triples(matrix)
        triples, cyclic = triples + decided, cyclic + found
        if count >= 3:
            lists, circular = lists + 1, circular + is_cyclic(matrix)
        asymmetries += [abs(matrix[i][j] + matrix[j][i]) for i, j in combinations(range(count), 2)]
    finite = [value for value in asymmetries if math.isfinite(value)]
    return Transitivity(
        cyclic_share=cyclic / triples if triples else None,
        triples=triples,
        cyclic_lists=circular / lists if lists else None,
        lists=lists,
        disagreement=sum(finite) / len(finite) if finite else 0.0,
    )


def cyclic_triples(matrix: Matrix) -> tuple[int, int]:
    """How many triples of candidates are decided, and how many of them run in a circle."""
    decided = cyclic = 0
    for a, b, c in combinations(range(len(matrix)), 3):
        gaps = [matrix[i][j] for i, j in pairwise((a, b, c, a))]
        if any(gap == 0 or math.isnan(gap) for gap in gaps):
            continue
        decided += 1
        cyclic += all(gap > 0 for gap in gaps) or all(gap < 0 for gap in gaps)
    return decided, cyclic


def is_cyclic(matrix: Matrix) -> bool:
    """Whether the graph of who beats whom holds a directed cycle of any length."""
    left = set(range(len(matrix)))
    while left:
        # A candidate that beats nobody who is left is on no cycle.
        losers = {i for i in left if not any(matrix[i][j] > 0 for j in left if j != i)}
        if not losers:
            return True
        left -= losers
    return False
