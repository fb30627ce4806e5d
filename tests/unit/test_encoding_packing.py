"""Cutting a step: whole comparisons, under the budget, few, even and deterministic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assent.encoding.packing import cut, share_out

COSTS = st.lists(st.integers(1, 500), max_size=60)


@given(COSTS, st.integers(1, 2000))
def test_every_comparison_is_in_exactly_one_micro_batch(costs: list[int], budget: int) -> None:
    batches = cut(costs, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(costs)))
    assert all(batches)


@given(COSTS, st.integers(1, 2000))
def test_only_a_single_comparison_may_exceed_the_budget(costs: list[int], budget: int) -> None:
    for batch in cut(costs, budget):
        assert len(batch) == 1 or sum(costs[index] for index in batch) <= budget


@given(COSTS, st.integers(1, 2000))
def test_the_longest_come_first_and_neighbours_are_similar(costs: list[int], budget: int) -> None:
    flat = [costs[index] for batch in cut(costs, budget) for index in batch]
    assert flat == sorted(flat, reverse=True)


def test_micro_batches_are_even_and_no_remainder_is_left() -> None:
    assert [len(batch) for batch in cut([10] * 9, 80)] == [5, 4]


def test_a_comparison_above_the_budget_is_alone() -> None:
    assert cut([5, 900, 5], 100) == [[1], [0, 2]]


def test_equal_costs_keep_their_order() -> None:
    assert cut([7, 7, 7, 7], 14) == [[0, 1], [2, 3]]


def test_nothing_is_cut_into_nothing() -> None:
    assert cut([], 10) == []


@pytest.mark.parametrize(("costs", "budget"), [([1], 0), ([0], 10)])
def test_impossible_numbers_are_refused(costs: list[int], budget: int) -> None:
    with pytest.raises(ValueError, match="token"):
        cut(costs, budget)


@given(COSTS, st.integers(1, 8))
def test_ranks_get_everything_once_and_nearly_the_same(costs: list[int], ranks: int) -> None:
    shares = share_out(costs, ranks)
    assert sorted(index for share in shares for index in share) == list(range(len(costs)))
    loads = [sum(costs[index] for index in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs, default=0)


def test_a_step_is_shared_by_somebody() -> None:
    with pytest.raises(ValueError, match="rank"):
        share_out([1], 0)
