"""Column names: renaming them as `data.columns` says, and guessing what unknown ones mean for a message."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from assent.errors import InputError
from assent.readers.row_format import RowFormat

MEANINGS: dict[str, tuple[str, ...]] = {
    "prompt": ("instruction", "question", "query", "input", "user", "problem", "post", "request", "history"),
    "chosen": ("good", "better", "best", "preferred", "winner", "accepted", "positive", "pos", "win", "good_res"),
    "rejected": ("bad", "worse", "worst", "dispreferred", "loser", "lose", "negative", "neg", "reject", "bad_res"),
    "completion": ("response", "answer", "output", "generation", "reply", "gold_response", "summary", "reference"),
    "label": ("thumbs", "feedback", "is_good", "liked", "desirable", "thumbs_up", "correct"),
    "completions": ("responses", "answers", "outputs", "generations", "replies", "candidates"),
    "scores": ("rewards", "ratings", "grades"),
    "score": ("rating", "reward", "grade", "stars", "preference"),
    "messages": ("conversations", "conversation", "dialogue", "turns", "chat"),
    "score_chosen": ("chosen_score", "chosen_rating", "good_score"),
    "score_rejected": ("rejected_score", "rejected_rating", "bad_score"),
}
"""Other names in use for what a column means; a name that contains one of them counts too."""
CLOSE = 0.75


def looks_like(name: str, ours: str) -> bool:
    """Whether a column's name says that it holds what we call `ours`."""
    return _named_alike(str(name).lower(), ours) >= CLOSE


def rename(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row under our names; a column that stood under one of them before is kept as `<name>_unmapped`."""
    ours_of = {column: ours for ours, column in columns.items()}
    renamed = {ours_of[name]: value for name, value in row.items() if name in ours_of}
    for name, value in row.items():
        if name not in ours_of:
            renamed[f"{name}_unmapped" if name in renamed else name] = value
    return renamed


def check_columns(columns: Mapping[str, str], formats: Sequence[RowFormat]) -> None:
    """Raises InputError for a mapping onto a name that no format uses."""
    known = sorted({name for row_format in formats for name in row_format.columns} | {"context"})
    for ours, column in columns.items():
        if ours not in known:
            near = difflib.get_close_matches(ours, known, 1)
            raise InputError(
                "no format has a column of this name",
                where="data.columns",
                field=ours,
                expected=", ".join(known),
                remedy=f"Did you mean `{near[0]}`?" if near else "The mapping reads `our name: the file's name`",
            )
        if not isinstance(column, str):
            raise InputError("a column's name is text", where="data.columns", field=ours, found=repr(column))


def unknown_layout(where: str, names: Sequence[str], formats: Sequence[RowFormat]) -> InputError:
    """The error for rows of no known format: their columns, the nearest format, and a mapping to start from."""
    row_format, mapping = nearest(names, formats)
    missing = [ours for ours in row_format.required if ours not in mapping]
    change = {ours: column for ours, column in mapping.items() if ours != column}
    remedy = f"The nearest format is `{row_format.name}` ({row_format.title})"
    if change:
        remedy += f"; map the columns: data.columns: {_yaml(change)} (on the command line: {_options(change)})"
    if missing:
        remedy += f"; nothing seems to be its {', '.join(f'`{name}`' for name in missing)}"
    return InputError(
        "the rows are of no known format",
        where=where,
        found=f"columns {', '.join(names)}"[:400] if names else "rows without columns",
        expected=f"for example {json.dumps(row_format.example, ensure_ascii=False)[:300]}",
        remedy=remedy,
    )


def nearest(names: Sequence[str], formats: Sequence[RowFormat]) -> tuple[RowFormat, dict[str, str]]:
    """The format whose needs the columns meet best, and which column serves which need."""
    guesses = [(row_format, _assigned(names, row_format.required)) for row_format in formats]
    best, mapping = max(guesses, key=lambda guess: _fit(guess[0], guess[1]))
    return best, {ours: column for ours, (column, _) in mapping.items()}


def _fit(row_format: RowFormat, mapping: Mapping[str, tuple[str, float]]) -> float:
    found = sum(likeness for _, likeness in mapping.values())
    return found - 1.0 * (len(row_format.required) - len(mapping))


def _assigned(names: Sequence[str], needs: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Each need with the column that is most like it, no column twice."""
    options = sorted(
        ((_likeness(name.lower(), ours), ours, name) for ours in needs for name in names), key=lambda item: -item[0]
    )
    chosen: dict[str, tuple[str, float]] = {}
    taken: set[str] = set()
    for likeness, ours, name in options:
        if likeness >= CLOSE and ours not in chosen and name not in taken:
            chosen[ours] = (name, likeness)
            taken.add(name)
    return chosen


def _named_alike(name: str, ours: str) -> float:
    """How surely a name means `ours`, 0 to 1; an identifier (`prompt_id`) is never the thing itself."""
    if name == ours:
        return 1.0
    words = set(name.replace("-", "_").split("_"))
    meanings = MEANINGS.get(ours, ())
    if words & {"id", "index", "hash"}:
        return 0.0
    if name in meanings:
        return 0.95
    return 0.85 if ours in words or words & set(meanings) else 0.0


def _likeness(name: str, ours: str) -> float:
    """The same with misspellings; for messages only, since a guess must not decide how data is read."""
    spelling = difflib.SequenceMatcher(None, name, ours).ratio()
    return max(_named_alike(name, ours), spelling - 0.05 if spelling > 0.8 else 0.0)


def _yaml(mapping: Mapping[str, str]) -> str:
    return (
        "{"
        + ", ".join(f"{ours}: {json.dumps(name) if ' ' in name else name}" for ours, name in mapping.items())
        + "}"
    )


def _options(mapping: Mapping[str, str]) -> str:
    return " ".join(f"--column {ours}={json.dumps(name) if ' ' in name else name}" for ours, name in mapping.items())
