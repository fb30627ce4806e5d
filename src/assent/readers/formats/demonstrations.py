"""Prompts with one answer that nobody judged: usable for supervised fine-tuning, and for nothing else.

The answer is one unscored candidate. Conversations (`messages`) end with the assistant's turn, which is the answer.
"""

from __future__ import annotations

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.readers import fields
from assent.readers.formats.preference import COMMON, answer_to, comparison, with_system
from assent.readers.row_format import Row, RowFormat

PROMPTS = ("prompt", "instruction", "question", "query")
ANSWERS = ("completion", "gold_response", "response", "output", "answer")
BESIDE = ("input", "context")
"""What an instruction works on, where a file keeps it apart: it is the end of the prompt."""
CONVERSATIONS = ("messages", "conversations", "conversation")


def recognise(row: Row) -> str | None:
    """Why a row is a demonstration: a prompt, an answer, and nothing that looks like a judgement."""
    from assent.readers.columns import looks_like

    judged = [
        name for name in row if any(looks_like(name, ours) for ours in ("label", "score", "chosen", "rejected"))
    ]
    prompt, answer = _name(row, PROMPTS), _name(row, ANSWERS)
    if judged or prompt is None or answer is None or isinstance(row[answer], list | bool | int | float):
        return None
    return f"columns {prompt} and {answer}, and no judgement"


def read(row: Row) -> Comparison:
    """The comparison with one unscored candidate; `input` or `context` is the end of the instruction."""
    prompt_name, answer_name = _name(row, PROMPTS) or "prompt", _name(row, ANSWERS) or "completion"
    words = fields.content(row, prompt_name)
    for name in BESIDE:
        if isinstance(words, str) and isinstance(row.get(name), str) and row[name]:
            words = f"{words}\n\n{row[name]}"
    prompt = with_system(row, words)
    answer = answer_to(prompt, fields.content(row, answer_name), answer_name)
    row = {name: value for name, value in row.items() if name not in BESIDE}
    return comparison(row, prompt, [Candidate(answer)], (prompt_name, answer_name, *COMMON))


def recognise_conversation(row: Row) -> str | None:
    """Why a row is a conversation: a list of messages and nothing that looks like a judgement."""
    name = _name(row, CONVERSATIONS)
    if name is None or not isinstance(row[name], list) or {"chosen", "rejected", "label"} & set(row):
        return None
    return f"column {name}, a list of messages, and no judgement"


def read_conversation(row: Row) -> Comparison:
    """The comparison whose one candidate is the last turn of a conversation."""
    name = _name(row, CONVERSATIONS) or "messages"
    turns = fields.messages(fields.required(row, name), name)
    if turns[-1].get("role") != "assistant" or len(turns) < 2:
        raise InputError(
            "the conversation does not end with an answer",
            field=f"{name}[{len(turns) - 1}]",
            found=fields.shown(turns[-1]),
            expected="a question and a last turn of the assistant",
        )
    return comparison(row, with_system(row, turns[:-1]), [Candidate(turns[-1:])], (name, *COMMON))


def _name(row: Row, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


FORMAT = RowFormat(
    name="demonstrations",
    title="demonstrations: usable for SFT only",
    required=("prompt", "completion"),
    optional=(*BESIDE, *COMMON),
    recognise=recognise,
    read=read,
    example={"prompt": "Name a colour.", "completion": "Blue."},
    demonstrations=True,
)
CONVERSATION = RowFormat(
    name="conversations",
    title="conversations: demonstrations, usable for SFT only",
    required=("messages",),
    optional=COMMON,
    recognise=recognise_conversation,
    read=read_conversation,
    example={"messages": [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}]},
    demonstrations=True,
)
