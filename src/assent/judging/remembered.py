"""A judge that keeps its verdicts in a journal, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from assent.comparison import Comparison, content_key
from assent.judging.verdict import Judge, Verdict
from assent.work.journal import Journal

_KEPT = ("judged", "unparsed")
"""A failed verdict is asked for again; one that could not be read is not, since it was paid for."""


class RememberedJudge:
    """Asks another judge for what the journal does not hold.

    Args:
        judge: who judges.
        journal: where verdicts are kept.
        identity: what besides the comparison decides the verdict: model fingerprint, rubric, mode, orders, seed.
    """

    def __init__(self, judge: Judge, journal: Journal, identity: str) -> None:
        self.inner, self.journal, self.identity = judge, journal, identity
        self.name, self.criterion = judge.name, judge.criterion

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        """Kept verdicts first, then new ones as they are ready."""
        entries = [content_key([self.identity, comparison.key]) for comparison in comparisons]
        kept = self.journal.get_many(entries)
        missing = []
        for index, entry in enumerate(entries):
            if entry in kept:
                yield index, verdict_from(kept[entry])
            else:
                missing.append(index)
        for at, verdict in self.inner.judge([comparisons[index] for index in missing]) if missing else ():
            if verdict.status in _KEPT:
                self.journal.put(entries[missing[at]], asdict(verdict))
            yield missing[at], verdict


def verdict_from(row: Mapping[str, Any]) -> Verdict:
    """The verdict of its JSON form."""
    dimensions = {name: tuple(values) for name, values in row["dimensions"].items()}
    return Verdict(**{**row, "scores": tuple(row["scores"]), "dimensions": dimensions})
