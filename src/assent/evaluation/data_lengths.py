"""The texts of a comparison and how long they are, in tokens of a tokenizer or in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assent.comparison import Candidate, Comparison, Media, TokenStreams

Tokenise = Callable[[str], Sequence[Hashable]]
"""From a text to its units; words unless a tokenizer is given."""

WORD = re.compile(r"\w+|[^\w\s]")
CENTILES = {"median": 50, "p90": 90, "p99": 99}


def words(text: str) -> list[str]:
    """The words and marks of a text."""
    return WORD.findall(text)


def spoken(content: Any) -> str:
    """The text of a prompt or completion: the text parts of its turns, and a mark for what is no text."""
    if isinstance(content, str):
        return content
    if isinstance(content, Media | TokenStreams):
        return f"<{content.kind if isinstance(content, Media) else 'tokens'}>"
    return "\n\n".join(_turn(message) for message in content)


@dataclass(frozen=True)
class Lengths:
    """How long the texts of one side are.

    Args:
        count: how many texts.
        total: their units together.
        mean, median, p90, p99, longest: in units.
        histogram: (from, below, how many) with bins that double, comparable between sides.
    """

    count: int
    total: int
    mean: float
    median: float
    p90: float
    p99: float
    longest: int
    histogram: tuple[tuple[int, int, int], ...]


def lengths(values: Sequence[int]) -> Lengths:
    """The summary of lengths, of at least one text."""
    array = np.asarray(values, dtype=np.int64)
    edges = [0, 1]
    while edges[-1] <= array.max():
        edges.append(edges[-1] * 2)
    counts = np.histogram(array, bins=np.asarray(edges))[0]
    bins = tuple((low, high, int(n)) for low, high, n in zip(edges, edges[1:], counts, strict=False))
    filled = [place for place, (_, _, n) in enumerate(bins) if n]
    centiles = {name: float(np.percentile(array, q)) for name, q in CENTILES.items()}
    return Lengths(
        count=len(array),
        total=int(array.sum()),
        mean=float(array.mean()),
        longest=int(array.max()),
        histogram=bins[filled[0] : filled[-1] + 1],
        **centiles,
    )


def sides(comparison: Comparison) -> dict[str, list[Candidate]]:
    """The answers by side: chosen and rejected, good and bad by label, else answers."""
    judged = [candidate for candidate in comparison.ordered() if candidate.judged]
    if len(judged) > 1:
        middle = {"between": judged[1:-1]} if len(judged) > 2 else {}
        return {"chosen": judged[:1], "rejected": judged[-1:], **middle}
    found: dict[str, list[Candidate]] = {}
    for candidate in comparison.answers:
        side = {True: "good", False: "bad", None: "answers"}[candidate.label]
        found.setdefault(side, []).append(candidate)
    return found


def shared_prefix(rows: Sequence[Sequence[Hashable]]) -> int:
    """How many units all rows have in common from their start; 0 for a single row, which shares with nobody."""
    if len(rows) < 2:
        return 0
    shortest = min(rows, key=len)
    for place, unit in enumerate(shortest):
        if any(row[place] != unit for row in rows):
            return place
    return len(shortest)


def _turn(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return " ".join(
        str(part["text"]) if part.get("type") == "text" else f"<{part.get('type')}>" for part in content or ()
    )
