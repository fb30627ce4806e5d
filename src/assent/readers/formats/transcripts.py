"""Anthropic's HH form: two whole dialogues, `Human:` and `Assistant:` in turn, that share their beginning.

The turns that both share are the prompt; the rest of each, one turn or several, is its completion. Two turns of the
assistant in a row occur in the published files and are kept as they are. If even the first turn differs, every
answer keeps its own dialogue as its prompt: a joint preference.
"""

from __future__ import annotations

import re
from typing import Any

from assent.comparison import Candidate, Comparison, Message
from assent.errors import InputError
from assent.readers import fields
from assent.readers.formats.preference import COMMON, common_turns, comparison
from assent.readers.row_format import Row, RowFormat

TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
ROLES = {"Human": "user", "Assistant": "assistant"}


def recognise(row: Row) -> str | None:
    """Why a row is a pair of transcripts: both texts start with a turn of the human's or the assistant's."""
    if not all(_transcript(row.get(name)) for name in ("chosen", "rejected")):
        return None
    return "chosen and rejected are dialogues of `Human:` and `Assistant:` turns"


def read(row: Row) -> Comparison:
    """The comparison of two transcripts: scores 1 for chosen, 0 for rejected."""
    chosen, rejected = (turns(fields.text(row, name), name) for name in ("chosen", "rejected"))
    prompt, answers = common_turns(chosen, rejected)
    used = ("chosen", "rejected", *COMMON)
    if prompt:
        candidates = [Candidate(answer, score=score) for answer, score in zip(answers, (1.0, 0.0), strict=True)]
        return comparison(row, prompt, candidates, used)
    best, worst = Candidate(chosen[-1:], score=1.0), Candidate(rejected[-1:], prompt=rejected[:-1], score=0.0)
    return comparison(row, chosen[:-1], [best, worst], used)


def turns(transcript: str, name: str) -> list[Message]:
    """The messages of a transcript, each without the white space around it."""
    marks = list(TURN.finditer(transcript))
    if not marks or transcript[: marks[0].start()].strip():
        raise InputError(
            "not a transcript: it does not start with a turn",
            field=name,
            found=fields.shown(transcript),
            expected="text that starts with `\\n\\nHuman:`",
        )
    ends = [mark.start() for mark in marks[1:]] + [len(transcript)]
    messages: list[Message] = [
        {"role": ROLES[mark[1]], "content": transcript[mark.end() : end].strip()}
        for mark, end in zip(marks, ends, strict=True)
    ]
    if len(messages) < 2:
        raise InputError(
            "a transcript of one turn has no prompt and answer",
            field=name,
            found=fields.shown(transcript),
            expected="at least a turn of the human's and one of the assistant's",
        )
    return messages


def _transcript(value: Any) -> bool:
    return isinstance(value, str) and TURN.match(value) is not None


FORMAT = RowFormat(
    name="transcripts",
    title="Anthropic HH transcripts",
    required=("chosen", "rejected"),
    optional=COMMON,
    recognise=recognise,
    read=read,
    example={
        "chosen": "\n\nHuman: Name a colour.\n\nAssistant: Blue.",
        "rejected": "\n\nHuman: Name a colour.\n\nAssistant: Seven.",
    },
)
