"""A prompt with a list of answers that carry scores or ranks.

The judgements stand in a list beside the answers (`scores`, or `ranks` with 1 for the best) or inside them
(`{"text": ..., "score": ...}`). A rank r of K answers becomes the score K - r.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.readers import fields
from assent.readers.formats.preference import COMMON, answer_to, comparison, with_system
from assent.readers.row_format import Row, RowFormat

PROMPTS = ("prompt", "instruction", "question", "query")
LISTS = ("completions", "responses", "answers", "outputs", "candidates")
SCORES = ("scores", "rewards", "ratings", "score")
RANKS = ("ranks", "rank", "ranking")
TEXTS = ("completion", "text", "response", "answer", "output", "content")
SOURCES = ("source", "model", "generator")


def recognise(row: Row) -> str | None:
    """Why a row is a list: a prompt, a list of answers, and a score or rank for each."""
    prompt, answers = _name(row, PROMPTS), _name(row, LISTS)
    if prompt is None or answers is None or not isinstance(row[answers], list) or not row[answers]:
        return None
    if isinstance(row[answers][0], Mapping):
        inside = _name(row[answers][0], (*SCORES, *RANKS)) and _name(row[answers][0], TEXTS)
        return f"columns {prompt} and {answers}, each answer with its score or rank" if inside else None
    beside = _name(row, (*SCORES, *RANKS))
    return f"columns {prompt}, {answers} and {beside}" if beside and isinstance(row[beside], list) else None


def read(row: Row) -> Comparison:
    """The comparison of a list: candidates in the file's order, with their scores."""
    prompt_name, list_name = _name(row, PROMPTS) or "prompt", _name(row, LISTS) or "completions"
    prompt = with_system(row, fields.content(row, prompt_name))
    items = fields.sequence(row, list_name)
    beside = None if isinstance(items[0], Mapping) and _name(items[0], TEXTS) else _name(row, (*SCORES, *RANKS))
    if beside is None:
        candidates = [
            _from_object(item, f"{list_name}[{index}]", prompt, len(items)) for index, item in enumerate(items)
        ]
    else:
        judgements = _judgements(row, beside, list_name, len(items))
        candidates = [
            Candidate(answer_to(prompt, fields.content({place: item}, place), place), score=score)
            for index, (item, score) in enumerate(zip(items, judgements, strict=True))
            for place in [f"{list_name}[{index}]"]
        ]
    return comparison(row, prompt, candidates, (prompt_name, list_name, *([beside] if beside else []), *COMMON))


def score_of(value: Any, name: str, place: str, count: int) -> float | None:
    """The score that a score or a rank stands for."""
    found = fields.optional_number(value, place)
    if name not in RANKS or found is None:
        return found
    if not 1 <= found <= count:
        raise InputError("a rank out of range", field=place, found=f"{found:g}", expected=f"1 (best) to {count}")
    return count - found


def _judgements(row: Row, name: str, list_name: str, count: int) -> list[float | None]:
    values: Sequence[Any] = fields.sequence(row, name)
    if len(values) != count:
        raise InputError(
            "as many judgements as answers are needed",
            field=name,
            found=f"{len(values)} for {count} answers in `{list_name}`",
        )
    return [score_of(value, name, f"{name}[{index}]", count) for index, value in enumerate(values)]


def _from_object(item: Any, place: str, prompt: Any, count: int) -> Candidate:
    if not isinstance(item, Mapping):
        raise InputError("not an object", field=place, found=fields.shown(item), expected="an answer with its score")
    text, judged, source = _name(item, TEXTS), _name(item, (*SCORES, *RANKS)), _name(item, SOURCES)
    if text is None:
        raise InputError("an answer without text", field=place, found=fields.shown(item), expected=" or ".join(TEXTS))
    name = f"{place}.{text}"
    return Candidate(
        answer_to(prompt, fields.content({name: item[text]}, name), name),
        score=None if judged is None else score_of(item[judged], judged, f"{place}.{judged}", count),
        source=None if source is None else fields.optional_text(item, source),
    )


def _name(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


FORMAT = RowFormat(
    name="scored_list",
    title="a list of answers with scores or ranks",
    required=("prompt", "completions", "scores"),
    optional=("ranks", *COMMON),
    recognise=recognise,
    read=read,
    example={"prompt": "Name a colour.", "completions": ["Blue.", "Seven.", "Red"], "scores": [9.0, 1.0, 8.0]},
)
