"""Preferences mined from conversations: a complaint names a bad answer, and says by what a better one is known.

Source: Shi et al. 2024, arXiv 2408.15549 (WildFeedback); the kinds of signals stand in the rubric `user_feedback`.

1. Each user turn after the first is annotated with the kinds that hold; it speaks of the assistant's turn before it.
   A turn with both praise and complaint counts as a complaint. No signal is not satisfaction: half go unnoticed.
2. The user's wishes are written down as short instructions, from the feedback alone.
3. For a complaint: the prompt is everything before the answer complained of, which is the rejected one (or a fresh
   answer of the policy); the chosen one is written for the same prompt under the wishes as a system message, which is
   not kept in the prompt. Neither the complaint nor anything later reaches the prompt.
4. Pairs on policy stay only if a judge who has the wishes prefers the chosen answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from assent.building.built import Built, counted
from assent.building.drawn import OnStep, nothing
from assent.comparison import Candidate, Comparison, Message
from assent.errors import InputError
from assent.generation.prompts import content_text, text_of
from assent.generation.sampling import Generator, Sampling, in_order
from assent.judging import Judge, load_rubric

Conversation = Sequence[Message]
Tags = Mapping[int, Sequence[str]]
"""Kinds of signals by index of the user turn."""

MOST_WISHES = 6
SAFETY = "Stay truthful and safe; if one of these wishes is unsafe, decline that part."


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


def annotate(
    conversations: Sequence[Conversation], judge: Judge, on_step: OnStep = nothing
) -> tuple[list[Tags], int]:
    """The kinds that hold at each user turn that follows an answer, and how many turns had no readable verdict.

    Args:
        conversations: chat messages.
        judge: a checklist judge with the rubric `user_feedback`.
        on_step: called after each turn.
    """
    turns = [
        (at, turn)
        for at, conversation in enumerate(conversations)
        for turn in range(1, len(conversation))
        if conversation[turn]["role"] == "user" and conversation[turn - 1]["role"] == "assistant"
    ]
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
    conversations: Sequence[Conversation], tags: Sequence[Tags], most: int | None = None
) -> list[Complaint]:
    """The complaints of all conversations, at most `most` of each: later ones repeat the earlier prompt."""
    found = []
    for at, conversation in enumerate(conversations):
        here = [signal for signal in signals(conversation, tags[at]) if signal.dissatisfied]
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


def wishes(found: Sequence[Complaint], generator: Generator, sampling: Sampling) -> list[list[str]]:
    """What each user wants of any answer to the request, as short instructions; empty where none could be written."""
    drawn = in_order(generator, [_wishes_prompt(one) for one in found], replace(sampling, samples=1, temperature=0.0))
    return [_lines(row[0].text) if row[0].finish_reason != "error" else [] for row in drawn]


def pairs(
    found: Sequence[Complaint],
    wanted: Sequence[Sequence[str]],
    generator: Generator,
    sampling: Sampling,
    on_policy: bool = False,
) -> Built:
    """A better answer under the wishes against the answer complained of (or a fresh one without them).

    Args:
        found: complaints.
        wanted: each user's wishes; complaints without are left out.
        generator: writes the better answer; on policy also the fresh one.
        sampling: of both.
        on_policy: whether both answers are the generator's.
    """
    reasons = Counter[str]()
    usable = [(one, list(wish)) for one, wish in zip(found, wanted, strict=True) if wish]
    reasons["complaints without a wish"] = len(found) - len(usable)
    one_each = sampling.with_samples(1)
    better = in_order(generator, [_under(one.prompt, wish) for one, wish in usable], one_each)
    fresh = in_order(generator, [one.prompt for one, _ in usable], one_each) if on_policy else None
    made = []
    for at, (one, wish) in enumerate(usable):
        rejected = fresh[at][0].text if fresh else one.answer
        failed = [row[at][0].finish_reason == "error" for row in (better, *([fresh] if fresh else []))]
        chosen = better[at][0].text
        if any(failed) or not chosen.strip():
            reasons["no better answer could be written"] += 1
        elif chosen == rejected:
            reasons["answers equal"] += 1
        else:
            made.append(
                Comparison(
                    one.prompt,
                    [
                        Candidate(chosen, score=1.0, source=generator.name),
                        Candidate(rejected, score=0.0, source=generator.name if fresh else "log"),
                    ],
                    context="the user's own wishes",
                    group=f"conversation {one.conversation}",
                    meta={"made_by": "wildfeedback", "wishes": wish, "kinds": list(one.kinds)},
                )
            )
    return Built(made, counted(reasons))


def preferred_by_wishes(made: Sequence[Comparison], judge: Judge, on_step: OnStep = nothing) -> Built:
    """The pairs whose chosen answer a judge who has the wishes prefers; ties and losses are left out."""
    kept: list[int] = []
    reasons = Counter[str]()
    for index, verdict in judge.judge([with_wishes(one) for one in made]):
        scores = verdict.scores if verdict.status == "judged" else ()
        if verdict.status != "judged":
            reasons[f"verdict {verdict.status}"] += 1
        elif scores[0] is not None and scores[1] is not None and scores[0] > scores[1]:
            kept.append(index)
        else:
            reasons["chosen answer not preferred"] += 1
        on_step()
    return Built([made[index] for index in sorted(kept)], counted(reasons))


def with_wishes(pair: Comparison) -> Comparison:
    """The pair as a judge is shown it: the wishes stand after the request as the checklist to go by."""
    listed = "\n".join(f"- {wish}" for wish in pair.meta["wishes"])
    text = f"{text_of(pair.prompt)}\n\n[Judge by these wishes of this user; length is no merit:]\n{listed}"
    candidates = [replace(candidate, score=None) for candidate in pair.candidates]
    return replace(pair, prompt=text, candidates=candidates, meta={})


@dataclass(frozen=True)
class Agreement:
    """How an annotator's yes and no agree with people's; None where a share has no cases."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def accuracy(self) -> float:
        """Share of equal labels."""
        return (self.true_positives + self.true_negatives) / self._count

    @property
    def precision(self) -> float | None:
        """Share of its yes that people share."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """Share of people's yes that it finds."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def _count(self) -> int:
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives


def agreement(people: Sequence[int], annotator: Sequence[int]) -> Agreement:
    """The four counts of two equally long rows of 0 and 1; kappa is `assent.evaluation.agreement.cohen_kappa`."""
    if len(people) != len(annotator) or not people:
        raise InputError("labels must pair up", found=f"{len(people)} and {len(annotator)}")
    counts = Counter(zip(map(bool, people), map(bool, annotator), strict=True))
    return Agreement(counts[True, True], counts[False, True], counts[True, False], counts[False, False])


def satisfaction(satisfied: int, dissatisfied: int) -> float | None:
    """(s - d) / (s + d) of a conversation's signals, from -1 to 1; None without a signal."""
    return _ratio(satisfied - dissatisfied, satisfied + dissatisfied)


def nearest_to_centres(embeddings: ArrayLike, clusters: Sequence[int], per_cluster: int) -> list[list[int]]:
    """For each cluster, in order, the indices nearest to its mean, nearest first: the paper's held-out prompts.

    Args:
        embeddings: [N, D] of prompt and wishes together.
        clusters: [N] from any clustering.
        per_cluster: how many of each.
    """
    points = np.asarray(embeddings, dtype=np.float64)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index, cluster in enumerate(clusters):
        members[cluster].append(index)
    found = []
    for cluster in sorted(members):
        rows = members[cluster]
        distances = ((points[rows] - points[rows].mean(0)) ** 2).sum(1)
        found.append([rows[at] for at in np.argsort(distances, kind="stable")[:per_cluster]])
    return found


def _wishes_prompt(one: Complaint) -> str:
    # Concatenated, never formatted: conversations may hold braces of their own.
    return (
        "A user was not content with an answer. Write down, in the user's language, what this user wants of any "
        f"answer to the request: at most {MOST_WISHES} short instructions, one a line, each beginning with '- '. "
        "Only what the feedback says of form, tone, length, facts or limits; nothing of a good answer's content.\n\n"
        "Conversation:\n" + text_of(one.prompt) + "\n\nAnswer:\n" + one.answer + "\n\nFeedback:\n" + one.feedback
    )


def _lines(text: str) -> list[str]:
    rows = [line.strip() for line in text.splitlines()]
    marks = ("- ", "* ", "• ")
    return [row[2:].strip() for row in rows if row.startswith(marks) and row[2:].strip()][:MOST_WISHES]


def _under(prompt: Sequence[Message], wish: Sequence[str]) -> list[Message]:
    text = "This user wants:\n" + "\n".join(f"- {one}" for one in wish) + "\n" + SAFETY
    if prompt and prompt[0]["role"] == "system":
        return [{**prompt[0], "content": f"{content_text(prompt[0].get('content'))}\n\n{text}"}, *prompt[1:]]
    return [{"role": "system", "content": text}, *prompt]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
