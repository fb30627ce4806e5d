"""Chosen and rejected, as TRL writes them: with a prompt or with the prompt inside both, as text or as messages.

Where there is no prompt column it is what both answers begin with: whole messages of a conversation; of a text,
everything up to the last white space that both share, so that no word is cut in two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assent.comparison import Candidate, Comparison, Completion, Message, Prompt
from assent.errors import InputError
from assent.readers import fields
from assent.readers.row_format import Row, RowFormat

COMMON = ("system", "annotator", "group", "context", "confidence", "weight")
"""Columns that any pair or list may carry; `context` and `group` are the judge's criterion and the population."""
PAIR = ("prompt", "chosen", "rejected", *COMMON)


def recognise(row: Row) -> str | None:
    """Why a row is a pair with a prompt of its own."""
    if not {"prompt", "chosen", "rejected"} <= set(row):
        return None
    return f"columns prompt, chosen and rejected ({_kind(row['chosen'])}, explicit prompt)"


def recognise_implicit(row: Row) -> str | None:
    """Why a row is a pair whose prompt is inside both answers: no column looks like a prompt."""
    from assent.readers.columns import looks_like

    if not {"chosen", "rejected"} <= set(row) or any(looks_like(name, "prompt") for name in row):
        return None
    return f"columns chosen and rejected and no prompt ({_kind(row['chosen'])}, implicit prompt)"


def read(row: Row) -> Comparison:
    """The comparison of a pair: scores 1 for chosen, 0 for rejected."""
    return read_pair(row, (1.0, 0.0), PAIR)


def read_implicit(row: Row) -> Comparison:
    """The comparison of a pair without a prompt column."""
    chosen, rejected = fields.content(row, "chosen"), fields.content(row, "rejected")
    if isinstance(chosen, str) and isinstance(rejected, str):
        prompt, answers = common_words(chosen, rejected)
    elif not isinstance(chosen, str) and not isinstance(rejected, str):
        prompt, answers = common_turns(chosen, rejected)
    else:
        raise InputError("one answer is text and the other messages", field="rejected", found=fields.shown(rejected))
    if not prompt:
        raise InputError(
            "prompt mismatch: the two share no beginning, so there is no prompt in them",
            field="chosen",
            found=fields.shown(row["chosen"]),
            remedy="Add a `prompt` column, or use the joint form (i_chosen, r_chosen, i_reject, r_reject)",
        )
    candidates = [Candidate(answer, score=score) for answer, score in zip(answers, (1.0, 0.0), strict=True)]
    return comparison(row, with_system(row, prompt), candidates, ("chosen", "rejected", *COMMON))


def read_pair(row: Row, scores: tuple[float | None, float | None], used: Sequence[str]) -> Comparison:
    """The comparison of prompt, chosen and rejected with the scores given."""
    prompt = with_system(row, fields.content(row, "prompt"))
    candidates = [
        Candidate(answer_to(prompt, fields.content(row, name), name), score=score)
        for name, score in zip(("chosen", "rejected"), scores, strict=True)
    ]
    return comparison(row, prompt, candidates, used)


def comparison(row: Row, prompt: Prompt, candidates: Sequence[Candidate], used: Sequence[str]) -> Comparison:
    """The comparison with what any row may carry beside its candidates; other columns become `meta`."""
    return Comparison(
        prompt=prompt,
        candidates=candidates,
        annotator=fields.optional_text(row, "annotator"),
        group=fields.optional_text(row, "group"),
        context=fields.optional_text(row, "context"),
        confidence=fields.optional_number(row.get("confidence"), "confidence"),
        weight=1.0 if row.get("weight") is None else fields.number(row["weight"], "weight"),
        meta=fields.without(row, used),
    )


def with_system(row: Row, prompt: Prompt) -> Prompt:
    """The prompt with the text of a `system` column in front."""
    system = row.get("system")
    if system is None or system == "":
        return prompt
    first: Message = {"role": "system", "content": fields.text(row, "system")}
    if isinstance(prompt, str):
        return [first, {"role": "user", "content": prompt}]
    return list(prompt) if prompt and prompt[0].get("role") == "system" else [first, *prompt]


def answer_to(prompt: Prompt, answer: str | list[Message], name: str) -> str | list[Message]:
    """The answer without the prompt's turns, which many files repeat in front of it.

    Raises:
        InputError: the answer starts with turns of a user that are not the prompt's.
    """
    if isinstance(answer, str):
        return answer
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    for start in (turns, turns[1:] if turns and turns[0].get("role") == "system" else turns):
        if start and len(answer) > len(start) and all(map(_same_turn, start, answer)):
            answer = answer[len(start) :]
            break
    if answer[0].get("role") not in ("assistant", "tool"):
        known = answer[0].get("role") in ("system", "developer", "user")
        raise InputError(
            "prompt mismatch: the answer starts with a turn that is not the prompt's" if known else "unknown role",
            field=f"{name}[0]" if known else f"{name}[0].role",
            found=fields.shown(answer[0] if known else answer[0].get("role")),
            expected="the assistant's turns, or the prompt's turns and then the assistant's",
        )
    return answer


def common_turns(first: list[Message], second: list[Message]) -> tuple[Prompt, tuple[Completion, Completion]]:
    """The turns that two conversations share from the start, and the rest of each, which is never empty."""
    limit = min(_last_answer(first, "chosen"), _last_answer(second, "rejected"))
    shared = 0
    while shared < limit and _same_turn(first[shared], second[shared]):
        shared += 1
    return first[:shared], (first[shared:], second[shared:])


def common_words(first: str, second: str) -> tuple[Prompt, tuple[Completion, Completion]]:
    """The words that two texts share from the start, and the rest of each with the white space before it."""
    shared = 0
    for left, right in zip(first, second, strict=False):
        if left != right:
            break
        shared += 1
    while shared > 0 and not (first[shared : shared + 1].isspace() and second[shared : shared + 1].isspace()):
        shared -= 1
    while shared > 0 and first[shared - 1].isspace():
        shared -= 1
    return first[:shared], (first[shared:], second[shared:])


def _last_answer(turns: list[Message], name: str) -> int:
    """The index of the last turn, which must be the assistant's: other conversations answer nothing."""
    if turns[-1].get("role") != "assistant":
        raise InputError(
            "the conversation does not end with an answer",
            field=f"{name}[{len(turns) - 1}].role",
            found=fields.shown(turns[-1].get("role")),
            expected="a last turn of the assistant",
        )
    return len(turns) - 1


def _same_turn(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    if first == second:
        return True
    one, other = first.get("content"), second.get("content")
    same = isinstance(one, str) and isinstance(other, str) and one.strip() == other.strip()
    return same and first.get("role") == second.get("role") and not first.get("tool_calls")


def _kind(value: Any) -> str:
    return "standard" if isinstance(value, str) else "conversational"


EXPLICIT = RowFormat(
    name="preference",
    title="TRL preference, explicit prompt",
    required=("prompt", "chosen", "rejected"),
    optional=COMMON,
    recognise=recognise,
    read=read,
    example={"prompt": "The sky is", "chosen": " blue.", "rejected": " green."},
)
IMPLICIT = RowFormat(
    name="preference_implicit",
    title="TRL preference, implicit prompt",
    required=("chosen", "rejected"),
    optional=COMMON,
    recognise=recognise_implicit,
    read=read_implicit,
    example={"chosen": "The sky is blue.", "rejected": "The sky is green."},
)
