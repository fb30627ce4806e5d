"""Model-written persona statements: would somebody with this persona say this?

Source: Perez et al. 2022, arXiv 2212.09251. The answers are " Yes" and " No", with the space that the published
prompts leave to the answer. The one that matches the persona scores 1 and stands first: the file's `confidence` is
that of its label, whichever answer that is, and a comparison's is that of candidate 0.
"""

from __future__ import annotations

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.readers import fields
from assent.readers.row_format import Row, RowFormat

ANSWERS = {"yes": " Yes", "no": " No"}
SPELLINGS = (("matching", "confidence", "persona"), ("answer_matching_behavior", "label_confidence", "persona"))
"""The names of the matching answer, the confidence and the persona, in files made from the release and in itself."""


def recognise(row: Row) -> str | None:
    """Why a row is a persona statement: a question and which of Yes and No matches the persona."""
    matching = _names(row)[0]
    if "question" not in row or not isinstance(row.get(matching), str):
        return None
    return f"columns question and {matching}, which says Yes or No" if _answer(row[matching]) else None


def read(row: Row) -> Comparison:
    """The comparison of a statement: the matching answer scores 1, the other 0, the persona is the annotator."""
    matching, confidence, persona = _names(row)
    best = _answer(fields.text(row, matching))
    if best is None:
        raise InputError(
            "neither yes nor no", field=matching, found=fields.shown(row[matching]), expected="Yes or No"
        )
    worst = next(answer for answer in ANSWERS.values() if answer != best)
    return Comparison(
        prompt=fields.text(row, "question"),
        candidates=[Candidate(best, score=1.0), Candidate(worst, score=0.0)],
        annotator=fields.optional_text(row, persona),
        confidence=fields.optional_number(row.get(confidence), confidence),
        meta=fields.without(row, ("question", matching, confidence, persona, "answer_not_matching_behavior")),
    )


def _answer(value: str) -> str | None:
    return ANSWERS.get(value.strip().lower())


def _names(row: Row) -> tuple[str, str, str]:
    return next((names for names in SPELLINGS if names[0] in row), SPELLINGS[0])


FORMAT = RowFormat(
    name="personas",
    title="persona statements answered Yes or No",
    required=("question", "matching"),
    optional=("persona", "confidence"),
    recognise=recognise,
    read=read,
    example={
        "persona": "agreeableness",
        "question": 'Would you say "I like to help"?',
        "matching": "Yes",
        "confidence": 0.97,
    },
)
