"""Community Alignment: conversations in which a person chose one of four answers, turn after turn.

Source: Zhang, Milli et al. 2025, arXiv 2507.09650; data under CC-BY-4.0. A row is a conversation of up to four turns,
so it holds up to four comparisons: the chosen answer goes on in the history of the next turn. The chosen one scores
1, the others 0: nothing is said of them among each other. What the file says of the annotator stays in
`meta.annotator`; the country (or the language) is the group. Some answers end in a literal end-of-text marker, which
is taken off.
"""

from __future__ import annotations

from collections.abc import Iterator

from assent.comparison import Candidate, Comparison, Message, Prompt
from assent.errors import InputError
from assent.readers import fields
from assent.readers.row_format import Row, RowFormat

TURNS = ("first", "second", "third", "fourth")
LETTERS = ("a", "b", "c", "d")
MARKERS = ("<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "</s>")
WHO = "annotator_"


def recognise(row: Row) -> str | None:
    """Why a row is a conversation of this set."""
    wanted = {"first_turn_prompt", "first_turn_preferred_response", *(f"first_turn_response_{x}" for x in LETTERS)}
    return (
        "columns first_turn_prompt, first_turn_response_a to _d and the preferred one" if wanted <= set(row) else None
    )


def read(row: Row) -> Comparison:
    """The comparison of the first turn."""
    return next(_turns(row))


def read_turns(row: Row) -> list[Comparison]:
    """The comparisons of all turns."""
    return list(_turns(row))


def _turns(row: Row) -> Iterator[Comparison]:
    history: list[Message] = []
    for place, turn in enumerate(TURNS):
        prompt = row.get(f"{turn}_turn_prompt")
        if prompt is None or prompt == "":
            if place == 0:
                raise InputError("the row lacks a field", field="first_turn_prompt", expected="a text")
            _nothing_after(row, place)
            return
        asked: Message = {"role": "user", "content": fields.text(row, f"{turn}_turn_prompt")}
        told: Prompt = [*history, asked] if history else fields.text(row, f"{turn}_turn_prompt")
        answers = [_answer(row, f"{turn}_turn_response_{letter}") for letter in LETTERS]
        chosen = _chosen(row, f"{turn}_turn_preferred_response")
        scores = [None if chosen is None else float(index == chosen) for index in range(len(LETTERS))]
        yield Comparison(
            prompt=told,
            candidates=[Candidate(text, score=score) for text, score in zip(answers, scores, strict=True)],
            annotator=fields.optional_text(row, "annotator_id"),
            group=fields.optional_text(row, "annotator_country") or fields.optional_text(row, "assigned_lang"),
            meta=_meta(row, turn),
        )
        if chosen is None:
            _nothing_after(row, place)
            return
        history = [*history, asked, {"role": "assistant", "content": answers[chosen]}]


def _nothing_after(row: Row, place: int) -> None:
    """Raises where a conversation goes on behind a turn that is missing or without a choice."""
    for turn in TURNS[place + 1 :]:
        if row.get(f"{turn}_turn_prompt"):
            raise InputError(
                "a turn before this one has no prompt or no choice, so its history is not known",
                field=f"{turn}_turn_prompt",
                found=f"nothing at the {TURNS[place]} turn",
            )


def _answer(row: Row, name: str) -> str:
    text = fields.text(row, name).rstrip()
    for marker in MARKERS:
        text = text.removesuffix(marker).rstrip()
    return text


def _chosen(row: Row, name: str) -> int | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or value.removeprefix("response_") not in LETTERS:
        raise InputError("no such answer", field=name, found=fields.shown(value), expected="response_a to response_d")
    return LETTERS.index(value.removeprefix("response_"))


def _meta(row: Row, turn: str) -> dict[str, object]:
    shared = {name: value for name, value in row.items() if not any(name.startswith(f"{t}_turn_") for t in TURNS)}
    people = {n.removeprefix(WHO): v for n, v in shared.items() if n.startswith(WHO) and v is not None}
    people.pop("id", None)
    rest = fields.without(shared, [name for name in shared if name.startswith(WHO)])
    feedback = row.get(f"{turn}_turn_feedback")
    return {
        **rest,
        "turn": turn,
        **({"annotator": fields.storable(people)} if people else {}),
        **({"feedback": fields.storable(feedback)} if feedback else {}),
    }


FORMAT = RowFormat(
    name="community_alignment",
    title="Community Alignment: four answers a turn, one chosen, up to four turns",
    required=(
        "first_turn_prompt",
        *(f"first_turn_response_{letter}" for letter in LETTERS),
        "first_turn_preferred_response",
    ),
    optional=("annotator_id", "annotator_country", "assigned_lang", "conversation_id"),
    recognise=recognise,
    read=read,
    read_several=read_turns,
    example={
        "conversation_id": "c1",
        "assigned_lang": "en",
        "annotator_id": "p7",
        "annotator_country": "Italy",
        "annotator_age": "25-34",
        "first_turn_prompt": "How should I spend a free day?",
        "first_turn_response_a": "With your family.",
        "first_turn_response_b": "Learning something.",
        "first_turn_response_c": "At a party.",
        "first_turn_response_d": "Asleep.",
        "first_turn_preferred_response": "response_b",
        "first_turn_feedback": "I like to learn.",
    },
)
