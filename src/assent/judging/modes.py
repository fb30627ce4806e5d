"""The five ways to ask: which questions a comparison needs, how each answer reads, and what they say together."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from assent.comparison import Comparison
from assent.judging.asking import Question, answer_text, ask
from assent.judging.reading import Found, note, read_checklist, read_rating, read_ratings, read_verdict
from assent.judging.rubric import Mode, Rubric
from assent.judging.verdict import Verdict, answers_of, spread

LONGEST_NOTE = 2000
"""Characters of a judge's reasoning that are kept."""


@dataclass(frozen=True)
class Reply:
    """A question, what was answered (None: nothing), and what could be read in it."""

    question: Question
    text: str | None
    found: Found | None


class Asking(Protocol):
    """One way to ask."""

    def questions(self, comparison: Comparison) -> list[Question]:
        """What has to be asked; nothing where the verdict needs no judge."""

    def read(self, question: Question, text: str) -> Found | None:
        """The answer in a text; None if it cannot be read."""

    def verdict(self, comparison: Comparison, replies: Sequence[Reply]) -> Verdict:
        """What all replies say together; every reply has been read."""


@dataclass(frozen=True)
class Pairwise:
    """Every two answers against each other.

    Both orders are asked and a win counts only if both name the same answer (Zheng et al. 2023, arXiv 2306.05685);
    disagreement is a tie. With more than two answers a score is the share of wins, ties counting half. Equal
    texts tie without being asked.

    Args:
        rubric: what better means.
        both_orders: False asks each pair once, in an order drawn from the seed and the record.
        seed: of those orders.
    """

    rubric: Rubric
    both_orders: bool = True
    seed: int = 0

    def questions(self, comparison: Comparison) -> list[Question]:
        """Two questions for each pair, or one."""
        asked = []
        for first, second in _different_pairs(comparison):
            orders = [(first, second), (second, first)]
            if not self.both_orders:
                orders = [random.Random(f"{self.seed}/{comparison.key}/{first}/{second}").choice(orders)]
            asked += [ask(comparison, order, self.rubric, "pairwise") for order in orders]
        return asked

    def read(self, question: Question, text: str) -> Found | None:
        """A, B or tie."""
        return read_verdict(text)

    def verdict(self, comparison: Comparison, replies: Sequence[Reply]) -> Verdict:
        """Shares of wins."""
        said: dict[tuple[int, int], list[int | None]] = {}
        for reply in replies:
            assert reply.found is not None
            winner = {"A": reply.question.order[0], "B": reply.question.order[1]}.get(reply.found.value)
            said.setdefault((min(reply.question.order), max(reply.question.order)), []).append(winner)
        answers = answers_of(comparison)
        points: dict[int, float] = dict.fromkeys(answers, 0.0)
        for pair in itertools.combinations(answers, 2):
            winners = set(said.get(pair, [None]))
            winner = winners.pop() if len(winners) == 1 else None
            for at in pair:
                points[at] += 0.5 if winner is None else float(at == winner)
        games = max(len(answers) - 1, 1)
        return Verdict(
            "judged",
            spread(comparison, {at: won / games for at, won in points.items()}),
            consistent=all(len(set(winners)) == 1 for winners in said.values())
            if self.both_orders and said
            else None,
            details={"verdicts": [reply.found.value for reply in replies if reply.found], **_notes(replies)},
        )


@dataclass(frozen=True)
class Rated:
    """Each answer alone, on the rubric's scale; with `critique`, after a critique that is kept."""

    rubric: Rubric
    mode: Mode = "pointwise"

    def questions(self, comparison: Comparison) -> list[Question]:
        """One for each answer."""
        return [ask(comparison, (at,), self.rubric, self.mode) for at in answers_of(comparison)]

    def read(self, question: Question, text: str) -> Found | None:
        """A number of the scale."""
        return read_rating(text, self.rubric)

    def verdict(self, comparison: Comparison, replies: Sequence[Reply]) -> Verdict:
        """The ratings."""
        ratings = {reply.question.order[0]: float(reply.found.value) for reply in replies if reply.found}
        field = "critique" if self.mode == "critique" else "reasoning"
        return Verdict("judged", spread(comparison, ratings), details=_notes(replies, field))


@dataclass(frozen=True)
class Listwise:
    """All answers in one question, in an order drawn from the seed and the record, each rated on the scale."""

    rubric: Rubric
    seed: int = 0

    def questions(self, comparison: Comparison) -> list[Question]:
        """One question."""
        order = answers_of(comparison)
        random.Random(f"{self.seed}/{comparison.key}").shuffle(order)
        return [ask(comparison, order, self.rubric, "listwise")]

    def read(self, question: Question, text: str) -> Found | None:
        """A number for every answer."""
        return read_ratings(text, self.rubric, len(question.order))

    def verdict(self, comparison: Comparison, replies: Sequence[Reply]) -> Verdict:
        """The ratings, back in the record's order."""
        (reply,) = replies
        assert reply.found is not None
        ratings = dict(zip(reply.question.order, reply.found.value, strict=True))
        return Verdict(
            "judged", spread(comparison, ratings), details={"order": list(reply.question.order), **_notes(replies)}
        )


@dataclass(frozen=True)
class Checklist:
    """Each answer alone, every line of the rubric rated; the score is the weighted mean of the lines."""

    rubric: Rubric

    def questions(self, comparison: Comparison) -> list[Question]:
        """One for each answer."""
        return [ask(comparison, (at,), self.rubric, "checklist") for at in answers_of(comparison)]

    def read(self, question: Question, text: str) -> Found | None:
        """A number for every line."""
        return read_checklist(text, self.rubric)

    def verdict(self, comparison: Comparison, replies: Sequence[Reply]) -> Verdict:
        """The lines as dimensions, and their weighted mean."""
        lines: dict[int, Mapping[str, float]] = {
            reply.question.order[0]: reply.found.value for reply in replies if reply.found
        }
        weights = {item.id: item.weight for item in self.rubric.asked}
        total = sum(map(abs, weights.values())) or 1.0
        means = {at: sum(weights[name] * value for name, value in row.items()) / total for at, row in lines.items()}
        dimensions = {
            item.id: spread(comparison, {at: row[item.id] for at, row in lines.items()}) for item in self.rubric.asked
        }
        return Verdict("judged", spread(comparison, means), dimensions, details=_notes(replies))


def asking_of(rubric: Rubric, mode: Mode | None = None, *, both_orders: bool = True, seed: int = 0) -> Asking:
    """The way to ask that a rubric wants, or the one that is named."""
    chosen = mode or rubric.mode
    if chosen == "pairwise":
        return Pairwise(rubric, both_orders, seed)
    if chosen == "listwise":
        return Listwise(rubric, seed)
    if chosen == "checklist":
        return Checklist(rubric)
    return Rated(rubric, chosen)


def _different_pairs(comparison: Comparison) -> list[tuple[int, int]]:
    texts = {
        at: (comparison.candidates[at].prompt, answer_text(comparison.candidates[at]))
        for at in answers_of(comparison)
    }
    return [pair for pair in itertools.combinations(texts, 2) if texts[pair[0]] != texts[pair[1]]]


def _notes(replies: Sequence[Reply], field: str = "reasoning") -> dict[str, Any]:
    texts = [note(reply.text, field) if reply.text else None for reply in replies]
    kept = [text[:LONGEST_NOTE] if text else None for text in texts]
    read_by = [reply.found.by for reply in replies if reply.found]
    return {"read_by": read_by, **({"notes": kept} if any(kept) else {})}
