"""One answer with a thumb up or down, as TRL's unpaired preference: prompt, completion, label."""

from __future__ import annotations

from assent.comparison import Candidate, Comparison
from assent.readers import fields
from assent.readers.formats.preference import COMMON, answer_to, comparison, with_system
from assent.readers.row_format import Row, RowFormat

NAMES = ("prompt", "completion", "label")


def recognise(row: Row) -> str | None:
    """Why a row is unpaired: prompt, completion, and a label that is true, false, 1, 0 or null."""
    if not set(NAMES) <= set(row):
        return None
    label = row["label"]
    if label is not None and not isinstance(label, bool) and label not in (0, 1):
        return None
    return "columns prompt, completion and label (true or false)"


def read(row: Row) -> Comparison:
    """The comparison with one labelled candidate."""
    prompt = with_system(row, fields.content(row, "prompt"))
    answer = answer_to(prompt, fields.content(row, "completion"), "completion")
    label = fields.truth(fields.required(row, "label"), "label")
    return comparison(row, prompt, [Candidate(answer, label=label)], (*NAMES, *COMMON))


FORMAT = RowFormat(
    name="unpaired",
    title="TRL unpaired preference (one answer, one label)",
    required=NAMES,
    optional=COMMON,
    recognise=recognise,
    read=read,
    example={"prompt": "The sky is", "completion": " blue.", "label": True},
)
