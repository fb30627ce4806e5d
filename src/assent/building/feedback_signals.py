"""What users say of answers in logged conversations: signals by user turn, and the complaints among them.

Source: Shi et al. 2024, arXiv 2408.15549 (WildFeedback); the kinds of signals stand in the rubric `user_feedback`.
A turn with both praise and complaint counts as a complaint. No signal is not satisfaction: half go unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from assent.building.drawn import OnStep, nothing
from assent.comparison import Candidate, Comparison, Message
from assent.generation.prompts import content_text
from assent.judging import Judge, load_rubric

Conversation = Sequence[Message]
Tags = Mapping[int, Sequence[str]]
"""Kinds of signals by index of the user turn."""


@dataclass(frozen=True)
class Signal:
    """What a user turn says of the assistant's turn before it.

    Args:
        turn: index of the user turn.
        dissatisfied: whether it complains; praise beside a complaint does not undo it.
        kinds: which kinds hold.
    """

    turn: int
    dissatisfied: bool
    kinds: tuple[str, ...]

    @property
    def answer(self) -> int:
        """Index of the assistant's turn that it speaks of; the prompt is everything before."""
        return self.turn - 1


@lru_cache
def kinds_of_signals() -> tuple[frozenset[str], frozenset[str]]:
    """The kinds of satisfaction and of dissatisfaction, from the rubric."""
    items = load_rubric("user_feedback").items
    return tuple(frozenset(one.id for one in items if one.group == group) for group in ("sat", "dsat"))  # type: ignore[return-value]


def signals(conversation: Conversation, tags: Tags) -> list[Signal]:
    """The signals of a conversation, in order; tags of the first turn, and kinds nobody knows, are void."""
    satisfied, dissatisfied = kinds_of_signals()
    found = []
    for turn in sorted(tags):
        kinds = tuple(kind for kind in tags[turn] if kind in satisfied | dissatisfied)
        follows = 0 < turn < len(conversation) and conversation[turn - 1]["role"] == "assistant"
        if kinds and follows and conversation[turn]["role"] == "user":
            found.append(Signal(turn, bool(dissatisfied & set(kinds)), kinds))
    return found


def turns_of(conversations: Sequence[Conversation]) -> list[tuple[int, int]]:
    """(conversation, turn) of every user turn that follows an answer."""
    return [
        (at, turn)
        for at, conversation in enumerate(conversations)
        for turn in range(1, len(conversation))
        if conversation[turn]["role"] == "user" and conversation[turn - 1]["role"] == "assistant"
    ]


def annotate(
    conversations: Sequence[Conversation], judge: Judge, on_step: OnStep = nothing
) -> tuple[list[Tags], int]:
    """The kinds that hold at each user turn that follows an answer, and how many turns had no readable verdict.

    Args:
        conversations: chat messages.
        judge: a checklist judge with the rubric `user_feedback`.
        on_step: called after each turn.
    """
    turns = turns_of(conversations)
    asked = [
        Comparison(conversations[at][:turn], [Candidate(content_text(conversations[at][turn].get("content")))])
        for at, turn in turns
    ]
    found: list[dict[int, list[str]]] = [{} for _ in conversations]
    unread = 0
    for index, verdict in judge.judge(asked):
        at, turn = turns[index]
        if verdict.status != "judged":
            unread += 1
        else:
            found[at][turn] = [kind for kind, values in verdict.dimensions.items() if (values[0] or 0) > 0.5]
        on_step()
    return list(found), unread


@dataclass(frozen=True)
class Complaint:
    """An answer that a user complained of.

    Args:
        conversation: its index.
        prompt: everything before the answer.
        answer: the answer.
        feedback: the user's turn.
        kinds: what it complains of.
    """

    conversation: int
    prompt: tuple[Message, ...]
    answer: str
    feedback: str
    kinds: tuple[str, ...]


def complaints(
    conversations: Sequence[Conversation], tags: Sequence[Tags], most: int | None = None, first: int = 0
) -> list[Complaint]:
    """The complaints of all conversations, at most `most` of each: later ones repeat the earlier prompt.

    Args:
        conversations: chat messages.
        tags: of each.
        most: complaints used of one conversation; None: all.
        first: the number of the first conversation, where the conversations come in parts.
    """
    found = []
    for at, (conversation, here_tags) in enumerate(zip(conversations, tags, strict=True), start=first):
        here = [signal for signal in signals(conversation, here_tags) if signal.dissatisfied]
        found += [
            Complaint(
                at,
                tuple(conversation[: one.answer]),
                content_text(conversation[one.answer].get("content")),
                content_text(conversation[one.turn].get("content")),
                one.kinds,
            )
            for one in here[:most]
        ]
    return found
