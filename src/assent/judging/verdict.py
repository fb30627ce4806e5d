"""What a judge says of one comparison, and how it is written into the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from assent.comparison import Comparison

Status = Literal["judged", "unparsed", "failed", "waiting"]
"""`unparsed`: the judge answered and no verdict can be read in it; `failed`: no answer; `waiting`: for a person."""


@dataclass(frozen=True)
class Verdict:
    """One judge's word on one comparison; never guessed: what could not be read has no scores.

    Args:
        status: what became of it.
        scores: one number or None for each candidate, in the record's own order; helpers have None.
        dimensions: the same by dimension.
        confidence: P(candidate 0 beats candidate 1), for two answers.
        consistent: whether both orders named the same answer; None where only one was asked.
        details: what is worth keeping: reasons, raw texts, label masses.
    """

    status: Status
    scores: tuple[float | None, ...] = ()
    dimensions: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    confidence: float | None = None
    consistent: bool | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Judge(Protocol):
    """Anything that judges comparisons: an endpoint, a model, a rule, a person."""

    name: str
    criterion: str

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        """Pairs (index of the comparison, verdict) as they are ready, each comparison exactly once."""


def apply(comparison: Comparison, verdict: Verdict, judge: Judge) -> Comparison:
    """The comparison with the verdict in it: scores, annotator and context, and `meta.judgement`.

    A comparison without a verdict keeps no scores of an earlier judge either, since they would pass for this one's.
    """
    judged = verdict.status == "judged"
    scores = verdict.scores if judged else (None,) * len(comparison.candidates)
    candidates = [
        candidate
        if candidate.role is not None
        else replace(candidate, score=score, scores=_dimensions(verdict, at) if judged else {})
        for at, (candidate, score) in enumerate(zip(comparison.candidates, scores, strict=True))
    ]
    note = {"status": verdict.status, "consistent": verdict.consistent, **verdict.details}
    return replace(
        comparison,
        candidates=candidates,
        annotator=judge.name,
        context=judge.criterion,
        confidence=verdict.confidence if judged else None,
        meta={**comparison.meta, "judgement": {key: value for key, value in note.items() if value is not None}},
    )


def answers_of(comparison: Comparison) -> list[int]:
    """Indices of the candidates that are answers, not helpers."""
    return [at for at, candidate in enumerate(comparison.candidates) if candidate.role is None]


def spread(comparison: Comparison, values: Mapping[int, float | None]) -> tuple[float | None, ...]:
    """One number or None per candidate, from numbers by candidate index."""
    return tuple(values.get(at) for at in range(len(comparison.candidates)))


@dataclass
class Tally:
    """Counts over a run: verdicts by status, how often both orders agreed, how the answers could be read."""

    statuses: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    read_by: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Counts one verdict."""
        self.statuses[verdict.status] += 1
        if verdict.consistent is not None:
            self.orders["consistent" if verdict.consistent else "inconsistent"] += 1
        self.read_by.update(verdict.details.get("read_by", ()))

    def summary(self) -> dict[str, Any]:
        """The numbers that a report shows; shares are None where nothing was asked."""
        answered = self.statuses["judged"] + self.statuses["unparsed"]
        both = sum(self.orders.values())
        return {
            **{status: self.statuses[status] for status in ("judged", "unparsed", "failed", "waiting")},
            "parse_failure_rate": self.statuses["unparsed"] / answered if answered else None,
            "order_consistency": self.orders["consistent"] / both if both else None,
            "read_by": dict(self.read_by),
        }


def _dimensions(verdict: Verdict, at: int) -> dict[str, float]:
    found = {name: values[at] for name, values in verdict.dimensions.items()}
    return {name: value for name, value in found.items() if value is not None}
