"""Does a scorer use the criterion? Measures on rows whose verdict flips between two criteria.

Source: Pitis et al. 2024, arXiv 2407.14916. A scorer blind to the criterion has accuracy 1/2 and paired accuracy 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assent.errors import InputError


@dataclass(frozen=True)
class ContextUse:
    """Measures over N rows.

    Args:
        accuracy: over both verdicts of each row, ties half.
        paired: rows with both verdicts right, strictly.
        reversal: rows in which the predicted winner differs between the two criteria.
    """

    accuracy: float
    paired: float
    reversal: float
    rows: int


def context_use(gaps: Sequence[tuple[float, float]]) -> ContextUse:
    """The measures, given r(a) - r(b) under the criterion that prefers a, and under the one that prefers b."""
    if not gaps:
        raise InputError("no row whose verdict flips", expected="pairs of comparisons with opposite verdicts")
    credit = [(_credit(x), _credit(-y)) for x, y in gaps]
    return ContextUse(
        accuracy=sum(x + y for x, y in credit) / (2 * len(gaps)),
        paired=sum(x == 1 and y == 1 for x, y in credit) / len(gaps),
        reversal=sum(x * y < 0 for x, y in gaps) / len(gaps),
        rows=len(gaps),
    )


def _credit(gap: float) -> float:
    return 0.5 if gap == 0 else float(gap > 0)
