"""Prompt optimisation data: a prompt with its worse answer, its rewriting with the better one.

Source: Cheng et al. 2023 (BPO), arXiv 2311.04155. A joint preference: (optimized_prompt, good_res) over
(prompt, bad_res).
"""

from __future__ import annotations

from assent.comparison import Candidate, Comparison
from assent.readers import fields
from assent.readers.formats.preference import COMMON, comparison
from assent.readers.row_format import Row, RowFormat

NAMES = ("prompt", "optimized_prompt", "good_res", "bad_res")


def recognise(row: Row) -> str | None:
    """Why a row is prompt optimisation data."""
    return "columns prompt, optimized_prompt, good_res and bad_res" if set(NAMES) <= set(row) else None


def read(row: Row) -> Comparison:
    """The comparison: the rewritten prompt is the comparison's, the original one the second candidate's."""
    better, original = fields.text(row, "optimized_prompt"), fields.text(row, "prompt")
    candidates = [
        Candidate(fields.text(row, "good_res"), score=1.0),
        Candidate(fields.text(row, "bad_res"), prompt=None if original == better else original, score=0.0),
    ]
    return comparison(row, better, candidates, (*NAMES, *COMMON))


FORMAT = RowFormat(
    name="bpo",
    title="prompt optimisation (two prompts, two answers)",
    required=NAMES,
    optional=COMMON,
    recognise=recognise,
    read=read,
    example={
        "prompt": "Write on cats.",
        "optimized_prompt": "Write a short paragraph on how cats hunt.",
        "good_res": "Cats stalk.",
        "bad_res": "Cats.",
    },
)
