"""Lays the candidates of comparisons out as one row in which every common prefix stands once.

The candidates of a comparison are sequences that begin alike: the same prompt, often the same first words. They
form a tree of spans; the row lists it depth first:

    prompt | completion 1 | completion 2 | prompt of the next comparison | ...

A token sees the tokens of its own span up to itself and those of the spans above, and its position counts along
that path. So the row holds no padding, and a model computes for each token what it would compute in a row of its
own. Common prefixes are found, not assumed: candidates with different prompts share what they can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Tokens = Sequence[int]

WORTH_SHARING = 16
"""Tokens a span must save before candidates are split from each other: below, another span costs more time."""


@dataclass(frozen=True)
class Span:
    """Consecutive tokens of the row that the same candidates contain.

    Args:
        start: first index in the row.
        stop: index after its last token.
        reach: index after the last token that sees it (its own tokens and those of the spans below).
        parent: index of the span above in the list of spans, or -1.
        position: position of its first token in the sequences.
    """

    start: int
    stop: int
    reach: int
    parent: int
    position: int


@dataclass(frozen=True)
class PackedRow:
    """Sequences as one row of spans.

    Args:
        ids: the tokens of the row.
        positions: for each of them its position in the sequences that contain it.
        spans: in row order, parents before children.
        places: for each group and each sequence, the index in the row of each of its tokens.
    """

    ids: list[int]
    positions: list[int]
    spans: tuple[Span, ...]
    places: list[list[list[int]]]


def pack(groups: Sequence[Sequence[Tokens]]) -> PackedRow:
    """One row that holds every group's sequences, prefixes common within a group once; nothing is shared across.

    Raises:
        ValueError: a sequence is empty.
    """
    row = PackedRow([], [], (), [])
    spans: list[Span] = []
    for sequences in groups:
        if any(not len(sequence) for sequence in sequences):
            raise ValueError("a sequence to be packed needs at least one token")
        grower = _Grower([tuple(sequence) for sequence in sequences], row, spans)
        grower.grow(list(range(len(sequences))), begin=0, depth=0, parent=-1)
        row.places.append(grower.places)
    return PackedRow(row.ids, row.positions, tuple(spans), row.places)


def shared_length(sequences: Sequence[Tokens]) -> int:
    """How many tokens a group takes in a packed row."""
    return len(pack([sequences]).ids)


def common_prefix_length(sequences: Sequence[Tokens]) -> int:
    """How many tokens all sequences begin with; the whole length of a single one."""
    first, rest = sequences[0], sequences[1:]
    low, high = 0, min(len(sequence) for sequence in sequences)
    while low < high:
        middle = (low + high + 1) // 2
        if all(sequence[low:middle] == first[low:middle] for sequence in rest):
            low = middle
        else:
            high = middle - 1
    return low


class _Grower:
    """Appends the tree of one group to a row."""

    def __init__(self, sequences: list[tuple[int, ...]], row: PackedRow, spans: list[Span]) -> None:
        self.sequences, self.row, self.spans = sequences, row, spans
        self.places: list[list[int]] = [[] for _ in sequences]

    def grow(self, members: list[int], begin: int, depth: int, parent: int) -> None:
        """Appends the spans of some sequences from `begin` on, knowing that they agree up to `depth`."""
        agreed = depth + common_prefix_length([self.sequences[member][depth:] for member in members])
        equal = all(len(self.sequences[member]) == agreed for member in members)
        if equal or len(members) == 1 or (agreed - begin) * (len(members) - 1) >= WORTH_SHARING:
            index = self._append(members, begin, agreed, parent)
            for branch in self._branches([m for m in members if len(self.sequences[m]) > agreed], agreed):
                self.grow(branch, agreed, agreed, index)
            self._close(index)
            return
        for branch in self._branches(members, agreed):
            self.grow(branch, begin, agreed, parent)

    def _branches(self, members: list[int], depth: int) -> list[list[int]]:
        """The members by the token they have at `depth`; those that end there, one by one."""
        branches: dict[tuple[int, int], list[int]] = {}
        for member in members:
            sequence = self.sequences[member]
            branches.setdefault((0, sequence[depth]) if len(sequence) > depth else (1, member), []).append(member)
        return list(branches.values())

    def _append(self, members: list[int], begin: int, stop: int, parent: int) -> int:
        start = len(self.row.ids)
        self.row.ids.extend(self.sequences[members[0]][begin:stop])
        self.row.positions.extend(range(begin, stop))
        for member in members:
            self.places[member].extend(range(start, len(self.row.ids)))
        self.spans.append(Span(start, len(self.row.ids), -1, parent, begin))
        return len(self.spans) - 1

    def _close(self, index: int) -> None:
        span = self.spans[index]
        self.spans[index] = Span(span.start, span.stop, len(self.row.ids), span.parent, span.position)
