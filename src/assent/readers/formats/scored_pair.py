"""A pair whose two answers carry scores, as in UltraFeedback binarized.

The scores are kept, so a pair with equal scores is a tie although the file calls one answer chosen: such pairs stay
out of pair losses and are counted. A chosen answer with the lower score contradicts itself and is an error.
"""

from __future__ import annotations

from assent.comparison import Comparison
from assent.errors import InputError
from assent.readers import fields
from assent.readers.formats.preference import COMMON, read_pair
from assent.readers.row_format import Row, RowFormat

SPELLINGS = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("chosen_avg_rating", "rejected_avg_rating"),
)


def recognise(row: Row) -> str | None:
    """Why a row is a scored pair."""
    names = _names(row)
    if not {"prompt", "chosen", "rejected"} <= set(row) or names is None:
        return None
    return f"columns prompt, chosen, rejected, {names[0]} and {names[1]}"


def read(row: Row) -> Comparison:
    """The comparison of a pair with its scores."""
    names = _names(row) or SPELLINGS[0]
    chosen, rejected = (fields.optional_number(fields.required(row, name), name) for name in names)
    if chosen is not None and rejected is not None and chosen < rejected:
        raise InputError(
            "the chosen answer has the lower score",
            field=names[0],
            found=f"{chosen:g} against {rejected:g}",
            remedy="Fix the row, or leave the scores out of the file to go by chosen and rejected alone",
        )
    if chosen is None or rejected is None:
        chosen, rejected = 1.0, 0.0
    used = ("prompt", "chosen", "rejected", "messages", *names, *COMMON)
    return read_pair(row, (chosen, rejected), used)


def _names(row: Row) -> tuple[str, str] | None:
    return next((pair for pair in SPELLINGS if set(pair) <= set(row)), None)


FORMAT = RowFormat(
    name="scored_pair",
    title="pair with scores (UltraFeedback binarized)",
    required=("prompt", "chosen", "rejected", "score_chosen", "score_rejected"),
    optional=("messages", *COMMON),
    recognise=recognise,
    read=read,
    example={
        "prompt": "Name a colour.",
        "chosen": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}],
        "rejected": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Seven."}],
        "score_chosen": 8.5,
        "score_rejected": 2.0,
    },
)
