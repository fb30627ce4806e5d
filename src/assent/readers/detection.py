"""Which format rows have, and why: each known format is asked about a sample of them, and most rows decide."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from assent.errors import InputError
from assent.readers.columns import unknown_layout
from assent.readers.formats import FORMATS
from assent.readers.row_format import RowFormat

SAMPLE = 200
"""Rows that are looked at: enough that some bad ones cannot decide, few enough to hold in memory."""


def detect(rows: Sequence[Mapping[str, Any]], where: str) -> tuple[RowFormat, str]:
    """The format that most of the rows fit, and the reason in a line.

    Raises:
        InputError: no row fits any known format.
    """
    votes: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for row in rows:
        for row_format in FORMATS:
            reason = row_format.recognise(row)
            if reason is not None:
                votes[row_format.name] += 1
                reasons.setdefault(row_format.name, reason)
                break
    if not votes:
        raise unknown_layout(where, _columns(rows), FORMATS)
    name, count = votes.most_common(1)[0]
    share = "" if count == len(rows) else f" in {count} of the first {len(rows)} rows"
    return named(name), reasons[name] + share


def named(name: str) -> RowFormat:
    """The format of a name.

    Raises:
        InputError: there is none.
    """
    for row_format in FORMATS:
        if row_format.name == name:
            return row_format
    names = [row_format.name for row_format in FORMATS]
    near = difflib.get_close_matches(name, names, 1)
    raise InputError(
        "no such row format",
        where="data.format",
        found=name,
        expected=", ".join(names),
        remedy=f"Did you mean `{near[0]}`?" if near else None,
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of the most common layout of the rows."""
    layouts = Counter(tuple(map(str, row)) for row in rows)
    return list(layouts.most_common(1)[0][0]) if layouts else []
