"""Accuracy of a preference model on judged pairs: overall, by subset, by annotator, by writer; with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from assent.evaluation.intervals import Interval, bootstrap_interval
from assent.evaluation.pair_outcomes import PairOutcome

SMALLEST_CELL = 10
"""Pairs below which an annotator is not named: a cell of one person tells on that person."""


@dataclass(frozen=True)
class Accuracy:
    """A share of pairs decided as the judge did, with an interval over comparisons.

    Args:
        strict: a tie is wrong, as in RewardBench.
        with_ties: a tie is half right.
        pairs: how many.
        ties: how many the scorer could not tell apart.
        missing: how many have no verdict of the scorer (NaN); they count as wrong.
    """

    strict: Interval
    with_ties: Interval
    pairs: int
    ties: int
    missing: int


def accuracy(rows: Sequence[PairOutcome], seed: int = 0) -> Accuracy:
    """The accuracy on the rows; raises where there are none."""
    groups = [row.comparison for row in rows]
    return Accuracy(
        strict=bootstrap_interval([row.credit for row in rows], groups, seed=seed),
        with_ties=bootstrap_interval([row.credit_with_ties for row in rows], groups, seed=seed),
        pairs=len(rows),
        ties=sum(row.gap == 0 for row in rows),
        missing=sum(row.gap != row.gap for row in rows),
    )


def accuracy_by(
    rows: Sequence[PairOutcome], name: Callable[[PairOutcome], str | None], smallest: int = 1, seed: int = 0
) -> Mapping[str, Accuracy]:
    """The accuracy of each part of the rows, by name; parts below `smallest` pairs are put together as "(few)"."""
    parts: dict[str, list[PairOutcome]] = {}
    for row in rows:
        label = name(row)
        if label is not None:
            parts.setdefault(label, []).append(row)
    few = [row for part in parts.values() if len(part) < smallest for row in part]
    named = {label: accuracy(part, seed) for label, part in sorted(parts.items()) if len(part) >= smallest}
    return named | ({"(few)": accuracy(few, seed)} if few else {})


def worst_tenth(parts: Mapping[str, Accuracy]) -> float | None:
    """The mean accuracy of the tenth of the parts that is served worst; None without parts."""
    values = sorted(part.strict.estimate for label, part in parts.items() if label != "(few)")
    count = max(1, len(values) // 10)
    return sum(values[:count]) / count if values else None
