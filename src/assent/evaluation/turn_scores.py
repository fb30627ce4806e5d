"""MT-Bench style scores: how each system is rated alone, by turn and by category, and which differences are real.

Source: Zheng et al. 2023, arXiv 2306.05685: a judge rates every answer of a dialogue from 1 to 10; a system's score
is the mean over turns and questions. Answers without a rating stay out and are counted. Both turns of a question
are alike, so intervals and tests resample questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from assent.comparison import Comparison, content_key
from assent.errors import InputError
from assent.evaluation.intervals import Interval, bootstrap_interval
from assent.evaluation.significance import sign_flip_test
from assent.generation.prompts import messages_of


@dataclass(frozen=True)
class TurnScore:
    """One rating (None: not rated) of one system's answer in one turn of one question."""

    system: str
    question: str
    turn: int
    category: str
    score: float | None


@dataclass(frozen=True)
class SystemScores:
    """A system's mean ratings.

    Args:
        mean: over turns and questions, with a 95% interval over questions.
        turns: mean by turn, from 1.
        categories: mean by category.
        rated, unrated: answers with and without a rating.
    """

    system: str
    mean: Interval
    turns: dict[int, float] = field(default_factory=dict)
    categories: dict[str, float] = field(default_factory=dict)
    rated: int = 0
    unrated: int = 0


@dataclass(frozen=True)
class ScoreDifference:
    """Mean rating of the first system minus the second's, where both are rated, and its p-value."""

    first: str
    second: str
    difference: Interval
    p_value: float
    answers: int


def turn_scores(judged: Iterable[Comparison]) -> list[TurnScore]:
    """The ratings in judged records: the turn is the number of user messages, the category the record's group.

    An answer's system is its `source`; answers without one are `unnamed`.
    """
    rows = []
    for comparison in judged:
        for candidate in comparison.answers:
            asked = [turn for turn in messages_of(comparison.prompt_of(candidate)) if turn["role"] == "user"]
            rows.append(
                TurnScore(
                    candidate.source or "unnamed",
                    content_key(asked[0]["content"]) if asked else comparison.key,
                    max(len(asked), 1),
                    comparison.group or "all",
                    candidate.score,
                )
            )
    return rows


def system_scores(rows: Sequence[TurnScore], rounds: int = 2000, seed: int = 0) -> list[SystemScores]:
    """Every rated system's scores, best first.

    Raises:
        InputError: no answer is rated.
    """
    found = [_scores_of(name, rows, rounds, seed) for name in dict.fromkeys(row.system for row in rows)]
    rated = [one for one in found if one is not None]
    if not rated:
        raise InputError("no answer is rated", field="score", found=f"{len(rows)} answers")
    return sorted(rated, key=lambda one: -one.mean.estimate)


def score_difference(
    rows: Sequence[TurnScore], first: str, second: str, rounds: int = 2000, seed: int = 0
) -> ScoreDifference | None:
    """The paired difference of two systems; None if no question and turn has ratings of both."""
    means: defaultdict[tuple[str, int], defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.score is not None and row.system in (first, second):
            means[row.question, row.turn][row.system].append(row.score)
    shared = [(question, one) for (question, _), one in means.items() if first in one and second in one]
    if not shared:
        return None
    gaps = [_mean(one[first]) - _mean(one[second]) for _, one in shared]
    questions = [question for question, _ in shared]
    return ScoreDifference(
        first,
        second,
        bootstrap_interval(gaps, questions, rounds=rounds, seed=seed),
        sign_flip_test(gaps, questions, seed=seed),
        len(shared),
    )


def _scores_of(name: str, rows: Sequence[TurnScore], rounds: int, seed: int) -> SystemScores | None:
    own = [row for row in rows if row.system == name]
    rated = [(row, row.score) for row in own if row.score is not None]
    if not rated:
        return None
    turns: defaultdict[int, list[float]] = defaultdict(list)
    categories: defaultdict[str, list[float]] = defaultdict(list)
    for row, score in rated:
        turns[row.turn].append(score)
        categories[row.category].append(score)
    return SystemScores(
        name,
        bootstrap_interval(
            [score for _, score in rated], [row.question for row, _ in rated], rounds=rounds, seed=seed
        ),
        {turn: _mean(turns[turn]) for turn in sorted(turns)},
        {category: _mean(categories[category]) for category in sorted(categories)},
        len(rated),
        len(own) - len(rated),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
