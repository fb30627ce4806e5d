"""From a rubric and texts to the question a judge reads: sandboxed templates, answers fenced against injection.

What a model wrote is data. Each answer stands between tags whose name holds a hash that its writer could not
know, so no answer can close its own block and speak as the user of the judge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from assent.comparison import Candidate, Comparison, Media, TokenStreams
from assent.errors import InputError
from assent.generation.prompts import content_text, text_of
from assent.judging.rubric import Mode, Rubric

LONGEST_TEXT = 60_000
"""Characters of one text that a judge is shown; the cut is marked."""

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False
)


@dataclass(frozen=True)
class Question:
    """One thing to ask a judge.

    Args:
        text: the whole prompt.
        schema: JSON schema of the answer.
        order: candidate indices in the order in which they are shown.
    """

    text: str
    schema: Mapping[str, Any]
    order: tuple[int, ...]


def ask(
    comparison: Comparison, order: Sequence[int], rubric: Rubric, mode: Mode, template: str | None = None
) -> Question:
    """The question about the candidates of the given order; `template` names one of ours in place of the mode's."""
    fence = hashlib.sha256(f"{comparison.key}/{rubric.name}/{list(order)}".encode()).hexdigest()[:10]
    shown = [
        {"label": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[at % 26], "number": at + 1, "text": _cut(answer_text(candidate))}
        for at, candidate in enumerate(comparison.candidates[index] for index in order)
    ]
    differing = [comparison.candidates[index] for index in order]
    prompts = {text_of(comparison.prompt_of(candidate)) for candidate in differing}
    if len(prompts) > 1:
        # Joint preferences: each answer has an instruction of its own, and the pair is judged as a whole.
        for entry, candidate in zip(shown, differing, strict=True):
            entry["prompt"] = _cut(text_of(comparison.prompt_of(candidate)))
    reference = comparison.meta.get("reference")
    common = {
        "prompt": _cut(prompts.pop()) if len(prompts) == 1 else None,
        "reference": _cut(reference) if isinstance(reference, str) else None,
    }
    text = render(
        _own_template(template) if template else rubric.template or _own_template(mode),
        {"rubric": rubric, "answers": shown, "tag": fence, "items": rubric.asked, "scale": rubric.scale, **common},
        where=rubric.name,
    )
    return Question(text, rubric.answer_schema or schema_of(mode, rubric, len(shown)), tuple(order))


def answer_text(candidate: Candidate) -> str:
    """A candidate's text as a judge reads it."""
    completion = candidate.completion
    if isinstance(completion, str):
        return completion
    if not isinstance(completion, Media | TokenStreams):
        return "\n\n".join(content_text(turn.get("content")) for turn in completion if turn["role"] == "assistant")
    raise InputError(
        "a judge of text cannot read this completion",
        field="completion",
        found=type(completion).__name__,
        remedy="Use a preference model of that modality",
    )


def render(template: str, variables: Mapping[str, Any], where: str) -> str:
    """The filled template; an InputError where the template asks for something that is not there."""
    try:
        return _compiled(template).render(**variables).strip()
    except TemplateError as error:
        raise InputError(
            "the template cannot be filled",
            where=where,
            field="template",
            found=str(error),
            expected="the variables " + ", ".join(sorted(variables)),
        ) from None


def schema_of(mode: Mode, rubric: Rubric, shown: int) -> dict[str, Any]:
    """The JSON schema of an answer in this mode."""
    rating = {"type": "integer", "minimum": rubric.scale.lowest, "maximum": rubric.scale.highest}
    fields: dict[str, Any]
    if mode == "pairwise":
        fields = {"reasoning": {"type": "string"}, "verdict": {"type": "string", "enum": ["A", "B", "tie"]}}
    elif mode == "listwise":
        row = _object({"answer": {"type": "integer", "minimum": 1, "maximum": shown}, "rating": rating})
        fields = {"reasoning": {"type": "string"}, "ratings": {"type": "array", "items": row}}
    elif mode == "checklist":
        fields = {"ratings": _object({item.id: rating for item in rubric.asked})}
    else:
        first = "critique" if mode == "critique" else "reasoning"
        fields = {first: {"type": "string"}, "rating": rating}
    return _object(fields)


def _object(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} [cut: {len(text) - LONGEST_TEXT} more]"


@lru_cache
def _compiled(template: str) -> Template:
    return _ENVIRONMENT.from_string(template)


@lru_cache
def _own_template(name: str) -> str:
    return (resources.files("assent.judging") / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
