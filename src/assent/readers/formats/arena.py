"""Battles of two models before a human judge, as Chatbot Arena published them.

Source: Zheng et al. 2023, arXiv 2306.05685; Chiang et al. 2024, arXiv 2403.04132. Two layouts: `conversation_a` and
`conversation_b` with `winner`; or `prompt`, `response_a`, `response_b` as lists of turns written as JSON with
`winner_model_a`, `winner_model_b` and `winner_tie`. The models' names are the candidates' sources, the judge is the
annotator. A tie scores 1/2 each, two bad answers 0 each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from assent.comparison import Candidate, Comparison, Message, Prompt
from assent.errors import InputError
from assent.readers import fields
from assent.readers.formats.preference import common_turns
from assent.readers.row_format import Row, RowFormat

VERDICTS = {
    "model_a": (1.0, 0.0),
    "model_b": (0.0, 1.0),
    "tie": (0.5, 0.5),
    "tie (bothbad)": (0.0, 0.0),
    "both_bad": (0.0, 0.0),
}
WINNERS = {"winner_model_a": "model_a", "winner_model_b": "model_b", "winner_tie": "tie"}
MODELS = ("model_a", "model_b")


def recognise(row: Row) -> str | None:
    """Why a row is a battle of two whole conversations."""
    wanted = {*MODELS, "winner", "conversation_a", "conversation_b"}
    return "columns model_a, model_b, winner and two conversations" if wanted <= set(row) else None


def read(row: Row) -> Comparison:
    """The comparison of two conversations: the prompt is what they share, the answers are what follows."""
    verdict = fields.required(row, "winner")
    if not isinstance(verdict, str) or verdict not in VERDICTS:
        raise InputError("not a verdict", field="winner", found=fields.shown(verdict), expected=", ".join(VERDICTS))
    first, second = (fields.messages(fields.required(row, f"conversation_{x}"), f"conversation_{x}") for x in "ab")
    for name, turns in (("conversation_a", first), ("conversation_b", second)):
        if turns[-1]["role"] != "assistant":
            raise InputError("the conversation does not end with an answer", field=name, found=turns[-1]["role"])
    prompt, answers = common_turns(first, second)
    if not prompt:
        raise InputError(
            "prompt mismatch: the two conversations begin differently",
            field="conversation_b",
            found=fields.shown(second[0]),
        )
    used = ("conversation_a", "conversation_b", "winner", "judge", *MODELS)
    return _comparison(row, prompt, answers, verdict, used)


def recognise_turns(row: Row) -> str | None:
    """Why a row is a battle with its turns in lists."""
    wanted = {*MODELS, "prompt", "response_a", "response_b", *WINNERS}
    return "columns prompt, response_a, response_b, model_a, model_b and winner_*" if wanted <= set(row) else None


def read_turns(row: Row) -> Comparison:
    """The comparison of two conversations given as lists of turns."""
    won = [name for column, name in WINNERS.items() if fields.truth(fields.required(row, column), column)]
    if len(won) != 1:
        raise InputError("not a verdict", field="winner_*", found=f"{len(won)} winners", expected="one of the three")
    asked = _list(row, "prompt")
    answers = []
    for side in "ab":
        said = _list(row, f"response_{side}")
        if len(said) != len(asked):
            raise InputError(
                "as many answers as questions are needed",
                field=f"response_{side}",
                found=f"{len(said)} answers, {len(asked)} questions",
            )
        answers.append(_completion(asked, said))
    used = ("prompt", "response_a", "response_b", *MODELS, *WINNERS)
    return _comparison(row, asked[0], answers, won[0], used)


def _completion(asked: Sequence[str], said: Sequence[str]) -> Any:
    """The answer to the first question, and in longer talks the turns that follow it."""
    if len(said) == 1:
        return said[0]
    turns: list[Message] = [{"role": "assistant", "content": said[0]}]
    for question, answer in zip(asked[1:], said[1:], strict=True):
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return turns


def _list(row: Row, name: str) -> list[str]:
    """Turns, as a list or as JSON that writes one; a turn that is null was empty."""
    value: Any = fields.required(row, name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list) or not value or not all(x is None or isinstance(x, str) for x in value):
        raise InputError("not a list", field=name, found=fields.shown(row[name]), expected="a list of texts")
    return [text or "" for text in value]


def _comparison(row: Row, prompt: Prompt, answers: Sequence[Any], verdict: str, used: tuple[str, ...]) -> Comparison:
    candidates = [
        Candidate(answer, score=score, source=fields.text(row, model))
        for answer, score, model in zip(answers, VERDICTS[verdict], MODELS, strict=True)
    ]
    annotator = fields.optional_text(row, "judge")
    return Comparison(prompt, candidates, annotator=annotator, meta=fields.without(row, used))


CONVERSATIONS = RowFormat(
    name="arena",
    title="battle of two models in conversations (Chatbot Arena)",
    required=("conversation_a", "conversation_b", "winner", *MODELS),
    optional=("judge",),
    recognise=recognise,
    read=read,
    example={
        "model_a": "one",
        "model_b": "two",
        "winner": "model_a",
        "judge": "arena_user_7",
        "conversation_a": [
            {"role": "user", "content": "Name a colour."},
            {"role": "assistant", "content": "Blue."},
        ],
        "conversation_b": [
            {"role": "user", "content": "Name a colour."},
            {"role": "assistant", "content": "Seven."},
        ],
    },
)
TURNS = RowFormat(
    name="arena_turns",
    title="battle of two models, turns in lists (Chatbot Arena, 55k)",
    required=("prompt", "response_a", "response_b", *MODELS, *WINNERS),
    recognise=recognise_turns,
    read=read_turns,
    example={
        "model_a": "one",
        "model_b": "two",
        "prompt": '["Name a colour."]',
        "response_a": '["Blue."]',
        "response_b": '["Seven."]',
        "winner_model_a": 1,
        "winner_model_b": 0,
        "winner_tie": 0,
    },
)
