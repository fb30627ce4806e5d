"""Joint preferences: an instruction with its response is preferred to another instruction with its response.

Source of the form: Bansal et al. 2024 (DOVE), arXiv 2404.00530. Where the two instructions are equal the comparison
is an ordinary pair under one prompt.
"""

from __future__ import annotations

from assent.comparison import Candidate, Comparison
from assent.readers import fields
from assent.readers.formats.preference import COMMON, comparison
from assent.readers.row_format import Row, RowFormat

NAMES = ("i_chosen", "r_chosen", "i_reject", "r_reject")
LONG = {"i_rejected": "i_reject", "r_rejected": "r_reject"}


def recognise(row: Row) -> str | None:
    """Why a row is a joint preference."""
    return "columns i_chosen, r_chosen, i_reject and r_reject" if set(NAMES) <= set(_short(row)) else None


def read(row: Row) -> Comparison:
    """The comparison of a joint preference: scores 1 and 0, the second prompt kept only where it differs."""
    row = _short(row)
    prompt, other = fields.content(row, "i_chosen"), fields.content(row, "i_reject")
    candidates = [
        Candidate(fields.content(row, "r_chosen"), score=1.0),
        Candidate(fields.content(row, "r_reject"), prompt=None if other == prompt else other, score=0.0),
    ]
    return comparison(row, prompt, candidates, (*NAMES, *COMMON))


def _short(row: Row) -> Row:
    return {LONG.get(name, name): value for name, value in row.items()}


FORMAT = RowFormat(
    name="joint",
    title="joint preference over instruction and response",
    required=NAMES,
    optional=COMMON,
    recognise=recognise,
    read=read,
    example={
        "i_chosen": "Name a colour.",
        "r_chosen": "Blue.",
        "i_reject": "Name a number.",
        "r_reject": "Green.",
    },
)
