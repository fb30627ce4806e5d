"""Assent's own form: one comparison a row, as `write_jsonl` and `write_parquet` write it.

In JSONL a row is the comparison itself, defaults left out. A table needs one type for each column, while a prompt is
text or messages, so there `prompt_json`, `completion_json` and `meta_json` hold JSON text and `scores` is a list of
(dimension, score); everything one would filter or sort by is a plain column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from assent.comparison import Comparison, from_dict, to_dict
from assent.errors import InputError
from assent.readers import fields
from assent.readers.row_format import Row, RowFormat

PLAIN = ("annotator", "group", "context", "confidence", "weight")
CANDIDATE_PLAIN = ("score", "label", "role", "source")


def recognise(row: Row) -> str | None:
    """Why a row is canonical: its candidates are objects with a `completion`, and nothing is beside them."""
    candidates = row.get("candidates")
    if not set(row) <= FORMAT.columns or "prompt" not in row or not _objects(candidates):
        return None
    if any("completion" not in candidate for candidate in candidates):
        return None
    return "columns prompt and candidates, each candidate with a completion"


def read(row: Row) -> Comparison:
    """The comparison of a canonical row; unknown fields are an error, since a typo must not lose data."""
    # A copy of the file in a table gives every object every key; a null there is a key that the object lacks.
    row = {name: _without_nulls(value) for name, value in row.items()}
    _check_talk(row, "prompt", "")
    _check_numbers(row, ("confidence", "weight"), "")
    for index, candidate in enumerate(fields.sequence(row, "candidates")):
        if isinstance(candidate, Mapping):
            place = f"candidates[{index}]."
            _check_talk(candidate, "completion", place)
            _check_talk(candidate, "prompt", place)
            _check_numbers(candidate, ("score",), place)
            scores = candidate.get("scores")
            if isinstance(scores, Mapping):
                _check_numbers(scores, tuple(scores), f"{place}scores.")
    return from_dict(row)


def _check_talk(row: Mapping[str, Any], name: str, place: str) -> None:
    """Messages are there if they are promised; what they are is the record's own check."""
    if isinstance(row.get(name), list):
        fields.messages(row[name], f"{place}{name}")


def _check_numbers(row: Mapping[str, Any], names: Sequence[str], place: str) -> None:
    for name in names:
        fields.optional_number(row.get(name), f"{place}{name}")


def recognise_table(row: Row) -> str | None:
    """Why a row is of the canonical table."""
    candidates = row.get("candidates")
    if "prompt_json" not in row or not _objects(candidates) or "completion_json" not in candidates[0]:
        return None
    return "columns prompt_json and candidates, each candidate with a completion_json"


def read_table(row: Row) -> Comparison:
    """The comparison of a row of the canonical table."""
    candidates = []
    for index, item in enumerate(fields.sequence(row, "candidates")):
        place = f"candidates[{index}]"
        candidate: dict[str, Any] = {"completion": _decoded(item, "completion_json", place)}
        if item.get("prompt_json") is not None:
            candidate["prompt"] = _decoded(item, "prompt_json", place)
        candidate |= {name: item[name] for name in CANDIDATE_PLAIN if item.get(name) is not None}
        candidate["scores"] = {str(pair["dimension"]): pair["score"] for pair in item.get("scores") or ()}
        candidates.append(candidate)
    plain = {name: row[name] for name in PLAIN if row.get(name) is not None}
    meta = {} if row.get("meta_json") is None else _decoded(row, "meta_json", "")
    return from_dict({"prompt": _decoded(row, "prompt_json", ""), "candidates": candidates, "meta": meta, **plain})


def to_table(comparison: Comparison) -> dict[str, Any]:
    """The row of the canonical table; the reverse of `read_table`."""
    row = to_dict(comparison)
    candidates = [
        {
            "completion_json": _encoded(candidate["completion"]),
            "prompt_json": _encoded(candidate["prompt"]) if "prompt" in candidate else None,
            "scores": [{"dimension": name, "score": score} for name, score in candidate.get("scores", {}).items()],
            **{name: candidate.get(name) for name in CANDIDATE_PLAIN},
        }
        for candidate in row["candidates"]
    ]
    return {
        "prompt_json": _encoded(row["prompt"]),
        "candidates": candidates,
        **{name: row.get(name) for name in PLAIN},
        "meta_json": _encoded(row["meta"]) if "meta" in row else None,
    }


def _encoded(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _decoded(row: Mapping[str, Any], name: str, place: str) -> Any:
    place = f"{place}.{name}" if place else name
    try:
        return json.loads(row[name])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("not JSON text", field=place, found=str(error)[:80]) from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _without_nulls(item)
            for key, item in value.items()
            if item is not None or key in ("content", "prompt")
        }
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _objects(value: Any) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(item, Mapping) for item in value)


FORMAT = RowFormat(
    name="canonical",
    title="Assent's own form",
    required=("prompt", "candidates"),
    optional=(*PLAIN, "meta"),
    recognise=recognise,
    read=read,
    example={
        "prompt": "Name a colour.",
        "candidates": [{"completion": "Blue.", "score": 1.0}, {"completion": "Seven.", "score": 0.0}],
    },
)
TABLE = RowFormat(
    name="canonical_table",
    title="Assent's own form in a table (Parquet)",
    required=("prompt_json", "candidates"),
    optional=(*PLAIN, "meta_json"),
    recognise=recognise_table,
    read=read_table,
    example={"prompt_json": '"Name a colour."', "candidates": [{"completion_json": '"Blue."', "score": 1.0}]},
)
