"""Comparisons of canonical rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.comparison.parts import Completion, Media, TokenStreams
from assent.comparison.record import Candidate, Comparison
from assent.errors import InputError


def from_dict(row: Mapping[str, Any]) -> Comparison:
    """The comparison of a canonical row; unknown fields are an error, since a typo must not lose data."""
    known = {"prompt", "candidates", "annotator", "group", "context", "confidence", "weight", "meta"}
    _refuse_unknown(row, known, "comparison")
    for name in ("prompt", "candidates"):
        if name not in row:
            raise InputError("a comparison lacks a field", field=name, found=str(sorted(row)))
    if not isinstance(row["candidates"], Sequence) or isinstance(row["candidates"], str):
        raise InputError("not a list", field="candidates", found=type(row["candidates"]).__name__)
    for name in ("annotator", "group", "context"):
        if row.get(name) is not None and not isinstance(row[name], str):
            raise InputError("not a text", field=name, found=type(row[name]).__name__)
    if not isinstance(row.get("meta") or {}, Mapping):
        raise InputError("not an object", field="meta", found=type(row["meta"]).__name__)
    return Comparison(
        prompt=row["prompt"],
        candidates=[_candidate_from_dict(candidate) for candidate in row["candidates"]],
        annotator=row.get("annotator"),
        group=row.get("group"),
        context=row.get("context"),
        confidence=row.get("confidence"),
        weight=1.0 if row.get("weight") is None else row["weight"],
        meta=row.get("meta") or {},
    )


def _candidate_from_dict(row: Any) -> Candidate:
    if not isinstance(row, Mapping):
        raise InputError("a candidate is an object", field="candidates", found=type(row).__name__)
    _refuse_unknown(row, {"completion", "prompt", "score", "label", "scores", "role", "source"}, "candidate")
    if "completion" not in row:
        raise InputError("a candidate lacks a field", field="candidates.completion", found=str(sorted(row)))
    scores = row.get("scores") or {}
    if not isinstance(scores, Mapping):
        raise InputError("not an object", field="candidates.scores", found=type(scores).__name__)
    for name in ("role", "source"):
        if row.get(name) is not None and not isinstance(row[name], str):
            raise InputError("not a text", field=f"candidates.{name}", found=type(row[name]).__name__)
    return Candidate(
        completion=_completion_from(row["completion"]),
        prompt=row.get("prompt"),
        score=row.get("score"),
        label=row.get("label"),
        scores=scores,
        role=row.get("role"),
        source=row.get("source"),
    )


def _completion_from(value: Any) -> Completion:
    if isinstance(value, Mapping) and set(value) == {"streams"}:
        try:
            return TokenStreams(tuple(tuple(int(token) for token in stream) for stream in value["streams"]))
        except (TypeError, ValueError) as error:
            raise InputError("streams are lists of token ids", field="completion.streams", found=str(error)) from None
    if isinstance(value, Mapping) and set(value) <= {"kind", "path", "data"} and "kind" in value:
        data = value.get("data")
        try:
            decoded = bytes.fromhex(data) if isinstance(data, str) else None
        except ValueError:
            raise InputError("media data is hexadecimal", field="completion.data") from None
        return Media(value["kind"], value.get("path"), decoded)
    return value  # type: ignore[no-any-return]  # text and messages are checked by Candidate itself


def _refuse_unknown(row: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(map(str, row)) - known)
    if unknown:
        raise InputError(f"a {what} has an unknown field", field=unknown[0], expected=", ".join(sorted(known)))
