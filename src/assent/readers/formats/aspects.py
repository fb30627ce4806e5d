"""One answer rated on several aspects, a column each, as in HelpSteer.

Source of the form: Wang et al. 2023, arXiv 2311.09528. The ratings become `scores` by dimension; there is no overall
score, so none is made up: choose a dimension where an objective needs one.
"""

from __future__ import annotations

from assent.comparison import Candidate, Comparison
from assent.readers import fields
from assent.readers.formats.preference import COMMON, comparison
from assent.readers.row_format import Row, RowFormat

ASPECTS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity", "honesty", "truthfulness",
           "instruction_following", "harmlessness", "safety")  # fmt: skip
FEWEST = 2
"""One such column may be anything; two are a rubric."""


def recognise(row: Row) -> str | None:
    """Why a row is rated by aspects."""
    aspects = [name for name in ASPECTS if name in row]
    if not {"prompt", "response"} <= set(row) or len(aspects) < FEWEST:
        return None
    return f"columns prompt, response and ratings by aspect ({', '.join(aspects)})"


def read(row: Row) -> Comparison:
    """The comparison with one candidate and its scores by dimension."""
    found = {name: fields.optional_number(row[name], name) for name in ASPECTS if name in row}
    scores = {name: score for name, score in found.items() if score is not None}
    candidate = Candidate(fields.content(row, "response"), scores=scores)
    return comparison(row, fields.content(row, "prompt"), [candidate], ("prompt", "response", *ASPECTS, *COMMON))


FORMAT = RowFormat(
    name="aspects",
    title="one answer with ratings by aspect (HelpSteer)",
    required=("prompt", "response", "helpfulness", "correctness"),
    optional=(*(name for name in ASPECTS if name not in ("helpfulness", "correctness")), *COMMON),
    recognise=recognise,
    read=read,
    example={"prompt": "Name a colour.", "response": "Blue.", "helpfulness": 4, "correctness": 4, "verbosity": 1},
)
