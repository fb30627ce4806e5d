"""Records that one should look at before training, each with the kind of trouble and the record it repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assent.building.near_duplicates import exact_duplicates, near_duplicates
from assent.comparison import Candidate, Comparison, content_key, to_dict
from assent.evaluation.data_lengths import spoken

KINDS = {
    "tie": "judged, but nothing is preferred",
    "identical candidates": "two answers are the same",
    "empty completion": "an answer without text",
    "exact duplicate": "repeats an earlier record",
    "near duplicate": "nearly repeats an earlier record",
    "contradiction": "judges a pair the other way round",
}
"""Every kind of finding and what it means."""


@dataclass(frozen=True)
class Finding:
    """One trouble of one record.

    Args:
        index: the record.
        kind: one of `KINDS`.
        of: the earlier record that it repeats or contradicts.
    """

    index: int
    kind: str
    of: int | None = None


def findings(comparisons: Sequence[Comparison], near: float | None = 0.8) -> list[Finding]:
    """All findings, in the order of the records.

    Args:
        comparisons: the records.
        near: similarity from which two are near duplicates; None: they are not looked for.
    """
    found = [*_alone(comparisons), *_repeated(comparisons, near), *_contradicting(comparisons)]
    return sorted(found, key=lambda finding: finding.index)


def tied(comparison: Comparison) -> bool:
    """Whether two or more answers are judged and none is preferred: equal scores, or a confidence of one half."""
    scores = [candidate.score for candidate in comparison.answers if candidate.judged]
    return len(scores) > 1 and (len(set(scores)) == 1 or comparison.confidence == 0.5)


def _alone(comparisons: Sequence[Comparison]) -> Iterator[Finding]:
    for index, comparison in enumerate(comparisons):
        if tied(comparison):
            yield Finding(index, "tie")
        keys = [_candidate_key(comparison, candidate) for candidate in comparison.answers]
        if len(set(keys)) < len(keys):
            yield Finding(index, "identical candidates")
        if any(not spoken(candidate.completion).strip() for candidate in comparison.answers):
            yield Finding(index, "empty completion")


def _repeated(comparisons: Sequence[Comparison], near: float | None) -> Iterator[Finding]:
    same = exact_duplicates([content_key({**to_dict(comparison), "meta": None}) for comparison in comparisons])
    texts = ["\n".join([spoken(c.prompt), *sorted(spoken(a.completion) for a in c.answers)]) for c in comparisons]
    # A record that differs only in its verdict has the same text: a near duplicate, though not an exact one.
    alike = same if near is None else near_duplicates(texts, near)
    for index, (exact, close) in enumerate(zip(same, alike, strict=True)):
        if exact != index:
            yield Finding(index, "exact duplicate", exact)
        elif close != index:
            yield Finding(index, "near duplicate", close)


def _contradicting(comparisons: Sequence[Comparison]) -> Iterator[Finding]:
    """Pairs judged the other way round than an earlier pair of the same two candidates."""
    seen: dict[tuple[str, str], int] = {}
    for index, comparison in enumerate(comparisons):
        judged = [candidate for candidate in comparison.ordered() if candidate.judged]
        if len(judged) != 2 or tied(comparison):
            continue
        best, worst = (_candidate_key(comparison, candidate) for candidate in judged)
        if best != worst and (worst, best) in seen:
            yield Finding(index, "contradiction", seen[worst, best])
        seen.setdefault((best, worst), index)


def _candidate_key(comparison: Comparison, candidate: Candidate) -> str:
    return content_key(to_dict(Comparison(comparison.prompt_of(candidate), [Candidate(candidate.completion)])))
