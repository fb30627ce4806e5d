"""Cuts an optimizer step's comparisons into micro-batches under a token budget, and shares a step over ranks.

The unit is the whole comparison: its candidates stay together, so that their common prefix is computed once.
What a comparison costs is the policy's business (`Policy.cost`); here are only numbers. Every function is pure and
deterministic: the same costs give the same cut in every process.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def cut(costs: Sequence[int], budget: int) -> list[list[int]]:
    """The micro-batches, as indices into `costs`: few, even, and of similar comparisons.

    Comparisons are taken longest first, so that neighbours are of similar length (little padding where a policy
    pads) and the largest micro-batch, the one that could run out of memory, comes first. Under that order the
    number of micro-batches is the least possible, and among the cuts of that number the one whose largest
    micro-batch is smallest is taken, so that no short remainder is left for the end.

    Args:
        costs: tokens of each comparison.
        budget: tokens that a micro-batch may hold. A comparison above it is a micro-batch of its own.

    Raises:
        ValueError: the budget or a cost is not positive.
    """
    if budget < 1:
        raise ValueError(f"the token budget of a micro-batch must be positive, got {budget}")
    if any(cost < 1 for cost in costs):
        raise ValueError(f"every comparison costs at least one token, got {min(costs)}")
    order = sorted(range(len(costs)), key=lambda index: (-costs[index], index))
    fewest = len(_fill(costs, order, budget))
    low, high = max(costs, default=1), budget
    while low < high:
        middle = (low + high) // 2
        if len(_fill(costs, order, middle)) <= fewest:
            high = middle
        else:
            low = middle + 1
    return _fill(costs, order, min(high, budget))


def share_out(costs: Sequence[int], ranks: int) -> list[list[int]]:
    """The comparisons of each rank, as ascending indices into `costs`, with nearly equal sums.

    Longest first, each to the rank that has least so far (Graham 1969: at most 4/3 of the best possible). A rank
    gets nothing where there are fewer comparisons than ranks.
    """
    if ranks < 1:
        raise ValueError(f"a step is shared by at least one rank, got {ranks}")
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [(0, rank) for rank in range(ranks)]
    for index in sorted(range(len(costs)), key=lambda index: (-costs[index], index)):
        load, rank = heapq.heappop(loads)
        shares[rank].append(index)
        heapq.heappush(loads, (load + costs[index], rank))
    return [sorted(share) for share in shares]


def _fill(costs: Sequence[int], order: Sequence[int], budget: int) -> list[list[int]]:
    """Consecutive groups of `order`, each filled up to the budget."""
    groups: list[list[int]] = []
    room = 0
    for index in order:
        if not groups or costs[index] > room:
            groups.append([])
            room = budget
        groups[-1].append(index)
        room -= costs[index]
    return groups
