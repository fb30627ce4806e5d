"""The record everything is built on: a comparison is a handful of candidates and what a judge said of them.

A candidate is a (prompt, completion) pair. A chosen/rejected pair, a thumbs-up, a ranked list, two images for
one caption, one answer under two images and a joint preference over different prompts are all comparisons.
Nothing here knows about models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from assent.comparison.checks import check_completion, check_finite, check_prompt
from assent.comparison.parts import Completion, Media, Prompt, TokenStreams
from assent.errors import InputError

HELPER_ROLES = ("mismatched", "corrupted_image", "blank_image", "base_prompt")
"""Roles that the built-in methods give to helpers; any other name is allowed too."""


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
        check_completion(self.completion)
        if self.prompt is not None:
            check_prompt(self.prompt)
        if self.score is not None:
            check_finite(self.score, "score")
        for name, value in self.scores.items():
            check_finite(value, f"scores.{name}")
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
        check_prompt(self.prompt)
        object.__setattr__(self, "candidates", tuple(self.candidates))
        if not self.candidates:
            raise InputError("a comparison needs at least one candidate", field="candidates", found="none")
        check_finite(self.weight, "weight")
        if self.weight < 0:
            raise InputError("a weight is not negative", field="weight", found=str(self.weight))
        if self.confidence is not None:
            check_finite(self.confidence, "confidence")
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
