"""UltraFeedback as released: an instruction, four completions, and GPT-4's ratings of four aspects.

Source: Cui et al. 2023, arXiv 2310.01377. `overall_score` (1 to 10) is the score; `annotations` give the score of
each dimension (1 to 5); "N/A" is not judged. The published file holds completions with the overall score 10 whose
critique says 1: a known slip that cannot be told from a true 10 in a row, so it is kept, and `fine-grained_score`,
the mean of the aspects, is kept beside it as the dimension `fine_grained` to check against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.readers import fields
from assent.readers.formats.alpaca_eval import required_object
from assent.readers.row_format import Row, RowFormat

NOT_JUDGED = ("n/a", "na", "", "none")


def recognise(row: Row) -> str | None:
    """Why a row is UltraFeedback's: completions that are objects with a response."""
    items = row.get("completions")
    if "instruction" not in row or not isinstance(items, list) or not items or not isinstance(items[0], Mapping):
        return None
    if "response" not in items[0] or not {"annotations", "overall_score"} & set(items[0]):
        return None
    return f"columns instruction and completions, {len(items)} of them, each with a response, ratings and a score"


def read(row: Row) -> Comparison:
    """The comparison of an instruction's completions, with the overall score and the score of each aspect."""
    items = fields.sequence(row, "completions")
    return Comparison(
        prompt=fields.text(row, "instruction"),
        candidates=[_candidate(item, f"completions[{index}]") for index, item in enumerate(items)],
        group=fields.optional_text(row, "source"),
        meta=fields.without(row, ("instruction", "completions", "source", "models")),
    )


def _candidate(value: Any, place: str) -> Candidate:
    item = required_object(value, place)
    response = item.get("response")
    if not isinstance(response, str):
        raise InputError("not text", field=f"{place}.response", found=fields.shown(response), expected="a string")
    ratings = {
        str(aspect): _rating(judgement, f"{place}.annotations.{aspect}")
        for aspect, judgement in required_object(item.get("annotations") or {}, f"{place}.annotations").items()
    }
    fine = item.get("fine-grained_score", item.get("fine_grained_score"))
    ratings["fine_grained"] = _number(fine, f"{place}.fine-grained_score")
    overall = _number(item.get("overall_score"), f"{place}.overall_score")
    return Candidate(
        response,
        score=ratings["fine_grained"] if overall is None else overall,
        scores={aspect: rating for aspect, rating in ratings.items() if rating is not None},
        source=fields.optional_text(item, "model"),
    )


def _rating(judgement: Any, place: str) -> float | None:
    """The rating of an aspect; the release wraps it in an object, truthfulness's in a list of one."""
    if isinstance(judgement, list):
        judgement = judgement[0] if judgement else None
    if isinstance(judgement, Mapping):
        return _number(judgement.get("Rating"), f"{place}.Rating")
    return _number(judgement, place)


def _number(value: Any, place: str) -> float | None:
    """A number, which the release writes as text, or None for N/A."""
    if isinstance(value, str):
        if value.strip().lower() in NOT_JUDGED:
            return None
        try:
            return fields.number(float(value), place)
        except ValueError:
            raise InputError("not a rating", field=place, found=fields.shown(value), expected="a number") from None
    return fields.optional_number(value, place)


FORMAT = RowFormat(
    name="ultrafeedback",
    title="UltraFeedback: completions with ratings by aspect",
    required=("instruction", "completions"),
    optional=("source", "models"),
    recognise=recognise,
    read=read,
    example={
        "source": "evol_instruct",
        "instruction": "Name a colour.",
        "completions": [
            {
                "model": "one",
                "response": "Blue.",
                "annotations": {"helpfulness": {"Rating": "5"}, "honesty": {"Rating": "4"}},
                "fine-grained_score": 4.5,
                "overall_score": 9.0,
            },
            {
                "model": "two",
                "response": "Seven.",
                "annotations": {"helpfulness": {"Rating": "1"}, "honesty": {"Rating": "N/A"}},
                "fine-grained_score": 1.0,
                "overall_score": 2.0,
            },
        ],
    },
)
