"""What two orders of the same pair say together, and how far a judge follows the order.

Source: Zheng et al. 2023, arXiv 2306.05685, section 3.4: a win counts only if both orders name the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["A", "B", "tie", "error"]
Outcome = Literal["model_1", "model_2", "tie", "error"]


@dataclass(frozen=True)
class SwapReliability:
    """Shares over the pairs without an error; None where there is no such pair."""

    outcomes: tuple[Outcome, ...]
    wins: int
    losses: int
    ties: int
    errors: int
    win_rate: float | None
    consistency: float | None
    biased_to_first: float | None
    biased_to_second: float | None


def merged(first_order: Verdict, second_order: Verdict) -> Outcome:
    """The verdict of two orders; model 1 is shown as A in the first and as B in the second."""
    if "error" in (first_order, second_order):
        return "error"
    if (first_order, second_order) == ("A", "B"):
        return "model_1"
    if (first_order, second_order) == ("B", "A"):
        return "model_2"
    return "tie"


def swap_reliability(verdicts: Sequence[tuple[Verdict, Verdict]]) -> SwapReliability:
    """Outcomes and order effects of pairs that were judged in both orders."""
    outcomes = tuple(merged(*pair) for pair in verdicts)
    clean = [pair for pair in verdicts if "error" not in pair]
    consistent = sum(pair in (("A", "B"), ("B", "A"), ("tie", "tie")) for pair in clean)
    wins, losses, ties = (outcomes.count(name) for name in ("model_1", "model_2", "tie"))

    def share(count: float) -> float | None:
        return count / len(clean) if clean else None

    return SwapReliability(
        outcomes=outcomes,
        wins=wins,
        losses=losses,
        ties=ties,
        errors=len(verdicts) - len(clean),
        win_rate=share(wins + ties / 2),
        consistency=share(consistent),
        biased_to_first=share(clean.count(("A", "A"))),
        biased_to_second=share(clean.count(("B", "B"))),
    )
