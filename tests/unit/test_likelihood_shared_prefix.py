"""Packed rows: nothing lost, prefixes once, and exactly the right tokens visible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assent.likelihood.shared_prefix import WORTH_SHARING, PackedRow, common_prefix_length, pack, shared_length

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=12)
GROUPS = st.lists(
    st.tuples(st.lists(st.integers(0, 9), max_size=30), st.lists(TOKENS, min_size=1, max_size=5)).map(
        lambda drawn: [drawn[0] + ending for ending in drawn[1]]
    ),
    min_size=1,
    max_size=3,
)


def visible(row: PackedRow, index: int) -> list[int]:
    """The tokens that the token at an index may see, itself included, in row order."""
    return [at for span in row.spans for at in range(span.start, span.stop) if at <= index < span.reach]


@given(GROUPS)
def test_every_token_sees_its_own_sequence_and_nothing_else(groups: list[list[list[int]]]) -> None:
    row = pack(groups)
    for sequences, places in zip(groups, row.places, strict=True):
        for sequence, indices in zip(sequences, places, strict=True):
            assert [row.ids[index] for index in indices] == sequence
            assert [row.positions[index] for index in indices] == list(range(len(sequence)))
            for depth, index in enumerate(indices):
                assert visible(row, index) == indices[: depth + 1]


@given(GROUPS)
def test_a_row_is_its_spans_without_gaps(groups: list[list[list[int]]]) -> None:
    row = pack(groups)
    assert [at for span in row.spans for at in range(span.start, span.stop)] == list(range(len(row.ids)))
    for span in row.spans:
        assert span.start <= span.stop <= span.reach
        if span.parent >= 0:
            above = row.spans[span.parent]
            assert above.start <= span.start
            assert span.reach <= above.reach
            assert span.position == above.position + above.stop - above.start


def test_a_prompt_stands_once() -> None:
    prompt = list(range(100, 140))
    row = pack([[[*prompt, 1, 2], [*prompt, 3]]])
    assert row.ids == [*prompt, 1, 2, 3]
    assert row.positions == [*range(40), 40, 41, 40]
    assert [(span.start, span.stop, span.reach) for span in row.spans] == [(0, 40, 43), (40, 42, 42), (42, 43, 43)]


def test_candidates_with_different_prompts_share_what_they_can() -> None:
    system, one, two = [9] * 20, [1] * 30, [2] * 30
    sequences = [system + one + [3], system + one + [4], system + two + [3], system + two + [4]]
    assert shared_length(sequences) == 20 + 2 * 30 + 4


def test_a_short_agreement_is_not_worth_a_span() -> None:
    assert len(pack([[[5, 1, 2, 3], [5, 4, 6, 7]]]).spans) == 2
    assert WORTH_SHARING > 1


def test_equal_candidates_and_prefixes_of_another_cost_nothing_more() -> None:
    sequence = list(range(50))
    assert shared_length([sequence, sequence, sequence[:40]]) == 50


def test_groups_never_share() -> None:
    assert len(pack([[[1] * 40], [[1] * 40]]).ids) == 80


@given(st.lists(TOKENS, min_size=1, max_size=4))
def test_the_common_prefix_is_the_longest(sequences: list[list[int]]) -> None:
    length = common_prefix_length(sequences)
    assert all(sequence[:length] == sequences[0][:length] for sequence in sequences)
    beyond = {tuple(sequence[length : length + 1]) for sequence in sequences}
    assert len(sequences) == 1 or len(beyond) > 1 or beyond == {()}


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        pack([[[]]])
