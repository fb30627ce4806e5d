"""The record everything is built on: a comparison is a handful of candidates and what a judge said of them.

A candidate is a (prompt, completion) pair. A chosen/rejected pair, a thumbs-up, a ranked list, two images for
one caption, one answer under two images and a joint preference over different prompts are all comparisons.
Nothing here knows about models.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from assent.errors import InputError

Message = Mapping[str, Any]
"""A chat message: `role`, `content` (text or a list of parts), optionally `tool_calls`, `tool_call_id`, `name`."""

MESSAGE_ROLES = ("system", "developer", "user", "assistant", "tool")
HELPER_ROLES = ("mismatched", "corrupted_image", "blank_image", "base_prompt")
"""Roles that the built-in methods give to helpers; any other name is allowed too."""


@dataclass(frozen=True)
class Media:
    """An image, video or piece of audio: a path, or its encoded bytes."""

    kind: Literal["image", "video", "audio"]
    path: str | None = None
    data: bytes | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("image", "video", "audio"):
            raise InputError("unknown kind of media", found=repr(self.kind), expected="image, video or audio")
        if (self.path is None) == (self.data is None):
            raise InputError("media needs a path or data, and not both", field=self.kind)


@dataclass(frozen=True)
class TokenStreams:
    """A completion that is already tokens, in one or several parallel streams (audio-token models)."""

    streams: tuple[tuple[int, ...], ...]


Prompt = str | Sequence[Message]
Completion = str | Sequence[Message] | Media | TokenStreams


@dataclass(frozen=True)
class Candidate:
    """One (prompt, completion) pair and what was said of it.

    Args:
        completion: text, messages (only assistant turns are scored), media or token streams.
        prompt: only where it differs from the comparison's.
        score: higher is better, compared only inside its comparison; None: not judged, never compared or ranked.
        label: True, False, or None (unknown or neutral: kept and counted, outside unpaired losses).
        scores: the same as `score`, by dimension.
        role: None for an answer; else what a helper is for. Helpers are never chosen or rejected.
        source: which model or person wrote it.
    """

    completion: Completion
    prompt: Prompt | None = None
    score: float | None = None
    label: bool | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    role: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        _check_completion(self.completion)
        if self.prompt is not None:
            _check_prompt(self.prompt)
        if self.score is not None:
            _check_finite(self.score, "score")
        for name, value in self.scores.items():
            _check_finite(value, f"scores.{name}")
        if self.label is not None and not isinstance(self.label, bool):
            raise InputError("a label is true, false or null", field="label", found=repr(self.label))
        if self.role is not None and (self.score is not None or self.label is not None):
            raise InputError(
                "a helper candidate is never judged",
                field="role",
                found=f"{self.role!r} with a score or label",
            )

    @property
    def judged(self) -> bool:
        """Whether the candidate is an answer with a score."""
        return self.role is None and self.score is not None


@dataclass(frozen=True)
class Comparison:
    """Candidates and a judge's verdict.

    Args:
        prompt: chat messages, or a string (one user message for a chat model, raw text for a base model).
        candidates: at least one.
        annotator: who judged.
        group: which set or population it comes from.
        context: the criterion the judge applied.
        confidence: P(candidate 0 beats candidate 1), for two candidates only.
        weight: how much it counts in a loss.
        meta: anything else worth keeping; not used in training.
    """

    prompt: Prompt
    candidates: Sequence[Candidate]
    annotator: str | None = None
    group: str | None = None
    context: str | None = None
    confidence: float | None = None
    weight: float = 1.0
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_prompt(self.prompt)
        object.__setattr__(self, "candidates", tuple(self.candidates))
        if not self.candidates:
            raise InputError("a comparison needs at least one candidate", field="candidates", found="none")
        _check_finite(self.weight, "weight")
        if self.weight < 0:
            raise InputError("a weight is not negative", field="weight", found=str(self.weight))
        if self.confidence is not None:
            _check_finite(self.confidence, "confidence")
            if not 0 <= self.confidence <= 1:
                raise InputError(
                    "a confidence is a probability",
                    field="confidence",
                    found=str(self.confidence),
                    expected="0 to 1",
                )
            if len(self.answers) != 2:
                raise InputError(
                    "a confidence belongs to exactly two answers",
                    field="confidence",
                    found=f"{len(self.answers)} answers",
                    remedy="Put the strength of a longer list into its scores",
                )

    @property
    def answers(self) -> tuple[Candidate, ...]:
        """The candidates that are answers, not helpers."""
        return tuple(c for c in self.candidates if c.role is None)

    @cached_property
    def key(self) -> str:
        """The content hash: equal records have equal keys, in every process and on every machine."""
        return content_key(to_dict(self))

    def prompt_of(self, candidate: Candidate) -> Prompt:
        """The prompt under which a candidate was written."""
        return self.prompt if candidate.prompt is None else candidate.prompt

    def ordered(self) -> tuple[Candidate, ...]:
        """The candidates in column order: judged best first (stable), then unjudged, helpers last."""
        judged = sorted((c for c in self.candidates if c.judged), key=lambda c: -_score(c))
        unjudged = [c for c in self.candidates if c.role is None and c.score is None]
        return (*judged, *unjudged, *(c for c in self.candidates if c.role is not None))


def content_key(value: Any) -> str:
    """The SHA-256 of a JSON-like value in canonical form."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=_jsonable)
    return hashlib.sha256(text.encode()).hexdigest()


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The canonical JSON form: defaults are left out, so that files stay short and readable."""
    row: dict[str, Any] = {
        "prompt": _plain(comparison.prompt),
        "candidates": [_candidate_to_dict(candidate) for candidate in comparison.candidates],
    }
    for name in ("annotator", "group", "context", "confidence"):
        if getattr(comparison, name) is not None:
            row[name] = getattr(comparison, name)
    if comparison.weight != 1.0:
        row["weight"] = comparison.weight
    if comparison.meta:
        row["meta"] = dict(comparison.meta)
    return row


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


def _candidate_to_dict(candidate: Candidate) -> dict[str, Any]:
    row: dict[str, Any] = {"completion": _plain(candidate.completion)}
    if candidate.prompt is not None:
        row["prompt"] = _plain(candidate.prompt)
    for name in ("score", "label", "role", "source"):
        if getattr(candidate, name) is not None:
            row[name] = getattr(candidate, name)
    if candidate.scores:
        row["scores"] = dict(candidate.scores)
    return row


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


def _plain(value: Any) -> Any:
    """JSON-like data of a prompt or completion."""
    if isinstance(value, Media):
        return {
            "kind": value.kind,
            **({"path": value.path} if value.data is None else {"data": value.data.hex()}),
        }
    if isinstance(value, TokenStreams):
        return {"streams": [list(stream) for stream in value.streams]}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    return value


def _jsonable(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else repr(value)


def _score(candidate: Candidate) -> float:
    assert candidate.score is not None
    return candidate.score


def _refuse_unknown(row: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(map(str, row)) - known)
    if unknown:
        raise InputError(f"a {what} has an unknown field", field=unknown[0], expected=", ".join(sorted(known)))


def _check_finite(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("not a number", field=name, found=repr(value)[:80])
    if not math.isfinite(value):
        raise InputError("not a finite number", field=name, found=str(value), remedy="Leave it out if not judged")


def _check_text(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "text with a lone surrogate cannot be encoded", field=name, found=f"position {error.start}"
        ) from None


def _check_prompt(prompt: Any) -> None:
    if isinstance(prompt, str):
        _check_text(prompt, "prompt")
        return
    _check_messages(prompt, "prompt")


def _check_completion(completion: Any) -> None:
    if isinstance(completion, Media | TokenStreams):
        return
    if isinstance(completion, str):
        _check_text(completion, "completion")
        return
    _check_messages(completion, "completion")


def _check_messages(messages: Any, name: str) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, bytes):
        raise InputError(
            "neither text nor messages",
            field=name,
            found=type(messages).__name__,
            expected="text or messages",
        )
    for index, message in enumerate(messages):
        place = f"{name}[{index}]"
        if not isinstance(message, Mapping):
            raise InputError("a message is an object", field=place, found=type(message).__name__)
        if message.get("role") not in MESSAGE_ROLES:
            raise InputError(
                "unknown role of a message",
                field=f"{place}.role",
                found=repr(message.get("role"))[:80],
                expected=", ".join(MESSAGE_ROLES),
            )
        _check_content(message, place)


def _check_content(message: Message, place: str) -> None:
    content = message.get("content")
    if isinstance(content, str):
        _check_text(content, f"{place}.content")
    elif content is None:
        if not message.get("tool_calls"):
            raise InputError("a message without content or tool calls", field=f"{place}.content", found="null")
    elif isinstance(content, Sequence) and not isinstance(content, bytes):
        for part in content:
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise InputError("a content part needs a type", field=f"{place}.content", found=repr(part)[:80])
            if part["type"] == "text":
                if not isinstance(part.get("text"), str):
                    raise InputError("a text part needs text", field=f"{place}.content", found=repr(part)[:80])
                _check_text(part["text"], f"{place}.content")
    else:
        raise InputError("content is neither text nor parts", field=f"{place}.content", found=type(content).__name__)
