"""AlpacaEval: systems judged against a baseline, as lists and as the annotations the tool writes.

Source: Dubois et al. 2024, arXiv 2404.04475. In lists `preference` is the judge's probability, 0 to 1, that the
candidate beats the baseline, which scores 0.5. In annotations it runs from 1 (output_1 wins) to 2 (output_2 wins);
older files write a tie as 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.readers import fields
from assent.readers.formats.preference import comparison
from assent.readers.row_format import Row, RowFormat

BASELINE_SCORE = 0.5
PAIR = ("instruction", "output_1", "output_2", "preference")


def recognise_list(row: Row) -> str | None:
    """Why a row is a list: a baseline, and candidates with a preference against it."""
    items = row.get("candidates")
    if not isinstance(row.get("baseline"), Mapping) or not isinstance(items, list) or "prompt" not in row:
        return None
    return "columns prompt, baseline and candidates, each candidate with a preference against the baseline"


def read_list(row: Row) -> Comparison:
    """The comparison: the baseline first, scored 0.5, then the systems with their preference; null is not judged."""
    baseline = required_object(fields.required(row, "baseline"), "baseline")
    systems = [
        required_object(item, f"candidates[{index}]") for index, item in enumerate(fields.sequence(row, "candidates"))
    ]
    return Comparison(
        prompt=fields.content(row, "prompt"),
        candidates=[
            _candidate(baseline, "baseline", BASELINE_SCORE),
            *(
                _candidate(system, f"candidates[{index}]", _share(system, f"candidates[{index}].preference"))
                for index, system in enumerate(systems)
            ),
        ],
        annotator=fields.optional_text(row, "annotator"),
        group=fields.optional_text(row, "dataset"),
        meta=fields.without(row, ("prompt", "baseline", "candidates", "annotator", "dataset")),
    )


def recognise_annotation(row: Row) -> str | None:
    """Why a row is an annotation: two outputs and a preference between them."""
    return "columns instruction, output_1, output_2 and preference" if set(PAIR) <= set(row) else None


def read_annotation(row: Row) -> Comparison:
    """The comparison: output_1 scores 2 - preference, output_2 the rest; null is not judged."""
    preference = fields.optional_number(row.get("preference"), "preference")
    if preference is not None and preference != 0 and not 1 <= preference <= 2:
        raise InputError("out of range", field="preference", found=f"{preference:g}", expected="1 to 2, 0 or null")
    first = None if preference is None else (0.5 if preference == 0 else 2 - preference)
    candidates = [
        Candidate(
            fields.text(row, f"output_{place}"),
            score=None if first is None else (first, 1 - first)[place - 1],
            source=fields.optional_text(row, f"generator_{place}"),
        )
        for place in (1, 2)
    ]
    used = (*PAIR, "generator_1", "generator_2", "annotator", "dataset")
    row = {**row, "group": row.get("dataset"), "confidence": first}
    return comparison(row, fields.text(row, "instruction"), candidates, (*used, "group", "confidence"))


def required_object(value: Any, name: str) -> Mapping[str, Any]:
    """A value that must be an object."""
    if not isinstance(value, Mapping):
        raise InputError("not an object", field=name, found=fields.shown(value), expected="an object")
    return value


def _candidate(item: Mapping[str, Any], place: str, score: float | None) -> Candidate:
    if not isinstance(item.get("completion"), str):
        raise InputError(
            "not text", field=f"{place}.completion", found=fields.shown(item.get("completion")), expected="a string"
        )
    return Candidate(item["completion"], score=score, source=fields.optional_text(item, "model"))


def _share(item: Mapping[str, Any], place: str) -> float | None:
    share = fields.optional_number(item.get("preference"), place)
    if share is not None and not 0 <= share <= 1:
        raise InputError("out of range", field=place, found=f"{share:g}", expected="0 to 1, or null if not judged")
    return share


LIST = RowFormat(
    name="alpaca_eval_list",
    title="AlpacaEval: systems judged against a baseline",
    required=("prompt", "baseline", "candidates"),
    optional=("dataset", "annotator"),
    recognise=recognise_list,
    read=read_list,
    example={
        "prompt": "Name a colour.",
        "baseline": {"model": "base", "completion": "Blue."},
        "candidates": [{"model": "mine", "completion": "Green, like grass.", "preference": 0.8}],
    },
)
ANNOTATION = RowFormat(
    name="alpaca_eval_annotation",
    title="AlpacaEval: annotations of two outputs",
    required=PAIR,
    optional=("generator_1", "generator_2", "annotator", "dataset"),
    recognise=recognise_annotation,
    read=read_annotation,
    example={
        "instruction": "Name a colour.",
        "output_1": "Blue.",
        "generator_1": "base",
        "output_2": "Green, like grass.",
        "generator_2": "mine",
        "preference": 1.8,
    },
)
