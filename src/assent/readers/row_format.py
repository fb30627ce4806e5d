"""What a row format is: a name, how it is recognised, and a pure function from a row to a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assent.comparison import Comparison

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RowFormat:
    """One layout of rows.

    Args:
        name: how it is called on the command line and in run files.
        title: what it is, in a line.
        required: the columns it cannot do without, by the names that `data.columns` maps to.
        optional: columns it uses where they are there.
        recognise: why a row is of this format, or None; looks at columns and at content.
        read: the comparison of a row; raises InputError naming the field.
        example: a row, for messages and docs.
        demonstrations: whether nothing in it is judged, so that it serves SFT only.
        read_several: the comparisons of a row, where one row may hold several; `read` then gives the first.
    """

    name: str
    title: str
    required: tuple[str, ...]
    recognise: Callable[[Row], str | None]
    read: Callable[[Row], Comparison]
    example: Row
    optional: tuple[str, ...] = ()
    demonstrations: bool = False
    read_several: Callable[[Row], list[Comparison]] | None = None

    def all_of(self, row: Row) -> list[Comparison]:
        """Every comparison of a row."""
        return [self.read(row)] if self.read_several is None else self.read_several(row)

    @property
    def columns(self) -> frozenset[str]:
        """Every column the format uses."""
        return frozenset(self.required) | frozenset(self.optional)
