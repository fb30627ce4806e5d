"""What each judge says of each pair of answers, matched by content whatever file or order the pairs stand in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from assent.comparison import Candidate, Comparison, content_key
from assent.errors import InputError
from assent.generation.prompts import messages_of

PairKey = tuple[str, str, str]
"""Prompt, and the two answers in the order of their hashes."""


@dataclass(frozen=True)
class PairVerdict:
    """One judge's word on two answers.

    Args:
        preference: how far the first was preferred, in [0, 1]; 1/2 a tie.
        sources: who wrote the first and the second.
    """

    preference: float
    sources: tuple[str | None, str | None]

    @property
    def side(self) -> int:
        """1: the first, -1: the second, 0: a tie."""
        return (self.preference > 0.5) - (self.preference < 0.5)


Verdicts = Mapping[PairKey, PairVerdict]


def verdicts_by_judge(judged: Iterable[Comparison], unnamed: str = "people") -> dict[str, dict[PairKey, PairVerdict]]:
    """The verdicts of every judge (the records' `annotator`; `unnamed` where there is none).

    A list of K answers counts as its pairs. Pairs without a verdict are left out; a judge who saw a pair more than
    once counts with the mean.
    """
    found: defaultdict[str, defaultdict[PairKey, list[PairVerdict]]] = defaultdict(lambda: defaultdict(list))
    for comparison in judged:
        judge = found[comparison.annotator or unnamed]
        for first, second in combinations(comparison.answers, 2):
            key, verdict = _verdict(comparison, first, second)
            if verdict is not None and key[1] != key[2]:
                judge[key].append(verdict)
    return {
        name: {key: PairVerdict(_mean(rows), rows[0].sources) for key, rows in table.items()}
        for name, table in found.items()
        if table
    }


def common_pairs(first: Verdicts, second: Verdicts) -> list[PairKey]:
    """The pairs that both judged, in the first one's order.

    Raises:
        InputError: there are none.
    """
    keys = [key for key in first if key in second]
    if not keys:
        raise InputError(
            "two judges have no pair of answers in common",
            found=f"{len(first)} and {len(second)} pairs",
            remedy="Let both judge the same file",
        )
    return keys


def _verdict(comparison: Comparison, first: Candidate, second: Candidate) -> tuple[PairKey, PairVerdict | None]:
    names = [_answer_key(comparison, one) for one in (first, second)]
    swapped = names[0] > names[1]
    one, other = (second, first) if swapped else (first, second)
    key = (content_key(messages_of(comparison.prompt)), min(names), max(names))
    preference = _preference(comparison, one, other, swapped)
    return key, None if preference is None else PairVerdict(preference, (one.source, other.source))


def _preference(comparison: Comparison, one: Candidate, other: Candidate, swapped: bool) -> float | None:
    if comparison.confidence is not None:
        return 1 - comparison.confidence if swapped else comparison.confidence
    if one.score is None or other.score is None:
        return None
    return 0.5 + 0.5 * ((one.score > other.score) - (one.score < other.score))


def _answer_key(comparison: Comparison, candidate: Candidate) -> str:
    return content_key([messages_of(comparison.prompt_of(candidate)), candidate.completion])


def _mean(rows: Sequence[PairVerdict]) -> float:
    return sum(row.preference for row in rows) / len(rows)
