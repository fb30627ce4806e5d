"""From what a judge wrote to its answer: JSON as agreed, JSON inside prose, a plain pattern, or nothing.

What cannot be read is None and is counted; there is no default verdict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from assent.judging.listwise_blocks import rating_blocks
from assent.judging.rubric import Rubric

ReadBy = Literal["json", "json_in_text", "pattern", "repair"]

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_VERDICT = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]|\bverdict[\"'*:=\s]{1,6}(A|B|tie)\b", re.IGNORECASE)
_RATING = re.compile(r"\[\[\s*(\d+)\s*\]\]|\brating[\"'*:=\s]{1,6}(\d+(?:\.\d+)?(?:\s*/\s*\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """An answer that could be read, and how."""

    value: Any
    by: ReadBy


def read(text: str, accept: Callable[[Any], Any], pattern: Callable[[str], Any] | None = None) -> Found | None:
    """What `accept` makes of the text's JSON, or `pattern` of the text; None where neither finds an answer.

    Of several JSON objects in a text the last that is accepted counts: judges draft first. Thinking blocks do not
    count.
    """
    text = _THOUGHT.sub("", text).strip()
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if whole is not None and (value := accept(whole)) is not None:
        return Found(value, "json")
    for candidate in _objects(text):
        if (value := accept(candidate)) is not None:
            return Found(value, "json_in_text")
    if pattern is not None and (value := pattern(text)) is not None:
        return Found(value, "pattern")
    return None


def read_verdict(text: str) -> Found | None:
    """`A`, `B` or `tie`."""
    return read(text, _verdict, _verdict_pattern)


def read_rating(text: str, rubric: Rubric) -> Found | None:
    """A number of the rubric's scale."""

    def accept(answer: Any) -> float | None:
        return rubric.scale.read(answer.get("rating")) if isinstance(answer, dict) else None

    def pattern(prose: str) -> float | None:
        found = [rubric.scale.read((match[1] or match[2]).replace(" ", "")) for match in _RATING.finditer(prose)]
        # Two different numbers in prose: which one is meant would be a guess.
        return found[0] if found and len(set(found)) == 1 else None

    return read(text, accept, pattern)


def read_ratings(text: str, rubric: Rubric, count: int) -> Found | None:
    """One number for each of `count` answers, in the order shown; all of them or nothing.

    Judges that write blocks of lines in place of JSON are read too, see `listwise_blocks`.
    """

    def accept(answer: Any) -> tuple[float, ...] | None:
        rows = answer.get("ratings") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or len(rows) != count:
            return None
        found: dict[int, float] = {}
        for row in rows:
            rating = rubric.scale.read(row.get("rating")) if isinstance(row, dict) else None
            number = row.get("answer") if isinstance(row, dict) else None
            if rating is None or not isinstance(number, int) or isinstance(number, bool) or number in found:
                return None
            found[number] = rating
        return tuple(found[at] for at in range(1, count + 1)) if set(found) == set(range(1, count + 1)) else None

    return read(text, accept, lambda prose: rating_blocks(prose, rubric.scale, count))


def read_checklist(text: str, rubric: Rubric) -> Found | None:
    """A number for every line of the checklist; all of them or nothing."""

    def accept(answer: Any) -> dict[str, float] | None:
        rows = answer.get("ratings") if isinstance(answer, dict) else None
        if not isinstance(rows, dict):
            return None
        found = {item.id: rubric.scale.read(rows.get(item.id)) for item in rubric.asked}
        kept = {name: value for name, value in found.items() if value is not None}
        return kept if len(kept) == len(found) else None

    return read(text, accept)


def note(text: str, field: str) -> str | None:
    """The reasoning or critique that stands beside the answer, if it can be read."""

    def accept(answer: Any) -> str | None:
        value = answer.get(field) if isinstance(answer, dict) else None
        return value if isinstance(value, str) and value.strip() else None

    found = read(text, accept)
    return None if found is None else str(found.value)


def _verdict(answer: Any) -> str | None:
    value = answer.get("verdict") if isinstance(answer, dict) else None
    return {"a": "A", "b": "B", "tie": "tie"}.get(value.strip().lower()) if isinstance(value, str) else None


def _verdict_pattern(text: str) -> str | None:
    names = {(match[1] or match[2]).upper() for match in _VERDICT.finditer(text)}
    if len(names) != 1:
        return None
    return {"A": "A", "B": "B", "C": "tie", "TIE": "tie"}[names.pop()]


def _objects(text: str) -> Iterator[Any]:
    """The JSON objects in a text, last first."""
    decoder = json.JSONDecoder()
    found: list[Any] = []
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found.append(value)
        at = text.find("{", end)
    yield from reversed(found)
