"""Win rate of a system against a baseline, with its standard error, from judged comparisons.

Source: AlpacaEval (Li et al. 2023) for the raw and discrete rates; x in [0, 1] is the judge's probability that
the system beats the baseline, 1/2 a tie, NaN no verdict.

    win rate = 100 mean(x),   standard error = 100 std(x) / sqrt(n), with n - 1 in the variance

Comparisons without a verdict stay out of the mean; since a system that breaks the judge would gain by that,
their number and the rates with all of them lost or won are part of the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assent.comparison import Comparison
from assent.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WinRate:
    """Rates in per cent; `wins`, `losses` and `ties` after rounding each verdict to the nearer side."""

    win_rate: float
    standard_error: float
    discrete_win_rate: float
    wins: int
    losses: int
    ties: int
    unjudged: int
    lowest: float
    highest: float

    @property
    def judged(self) -> int:
        """How many comparisons have a verdict."""
        return self.wins + self.losses + self.ties


def win_rate(preference: Array) -> WinRate:
    """The win rate of n verdicts in [0, 1], NaN where there is none.

    Raises:
        InputError: no verdict at all, or one outside [0, 1].
    """
    given = preference[~np.isnan(preference)]
    if not len(given):
        raise InputError("no comparison has a verdict", field="preference", found=f"{len(preference)} unjudged")
    if given.min() < 0 or given.max() > 1:
        outside = given[(given < 0) | (given > 1)][0]
        raise InputError("a preference is a probability", field="preference", found=str(outside), expected="0 to 1")
    ties = int((given == 0.5).sum())
    wins = int((given > 0.5).sum())
    unjudged, judged = len(preference) - len(given), len(given)
    deviation = float(given.std(ddof=1)) if judged > 1 else math.nan
    return WinRate(
        win_rate=100 * float(given.mean()),
        standard_error=100 * deviation / math.sqrt(judged),
        discrete_win_rate=100 * (wins + ties / 2) / judged,
        wins=wins,
        losses=judged - wins - ties,
        ties=ties,
        unjudged=unjudged,
        lowest=100 * float(given.sum()) / len(preference),
        highest=100 * float(given.sum() + unjudged) / len(preference),
    )


@dataclass(frozen=True)
class Verdicts:
    """What a judge said of several systems against one baseline, N prompts.

    Args:
        baseline: the baseline's name.
        preference: for each system [N], NaN where not judged.
        length_gap: for each system [N], characters of the baseline's answer minus the system's.
    """

    baseline: str
    preference: dict[str, Array]
    length_gap: dict[str, Array]
    mean_length: dict[str, float]


def verdicts(comparisons: Sequence[Comparison], baseline: str | None = None) -> Verdicts:
    """The verdicts in lists whose candidates name their `source`; a score of 1/2 is the baseline's own.

    Raises:
        InputError: the baseline is missing or cannot be told.
    """
    baseline = _baseline(comparisons) if baseline is None else baseline
    names = list(dict.fromkeys(c.source for r in comparisons for c in r.answers if c.source not in (None, baseline)))
    if not names:
        raise InputError("no system to compare with the baseline", field="source", found=f"only `{baseline}`")
    preference = {str(name): np.full(len(comparisons), np.nan) for name in names}
    gap = {str(name): np.full(len(comparisons), np.nan) for name in names}
    lengths: dict[str, list[int]] = {str(name): [] for name in names}
    for index, comparison in enumerate(comparisons):
        answers = {str(candidate.source): candidate for candidate in comparison.answers}
        if baseline not in answers:
            raise InputError(
                "a comparison without the baseline's answer",
                where=f"comparison {index}",
                field="source",
                expected=f"`{baseline}`",
                found=", ".join(answers),
            )
        for name, candidate in answers.items():
            if name == baseline:
                continue
            length = len(text_of(candidate.completion))
            lengths[name].append(length)
            gap[name][index] = len(text_of(answers[baseline].completion)) - length
            if candidate.score is not None:
                preference[name][index] = candidate.score
    means = {name: float(np.mean(values)) for name, values in lengths.items()}
    return Verdicts(baseline, preference, gap, means)


def text_of(completion: object) -> str:
    """The text of a completion, turns joined; its length is what length control counts."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence):
        return "\n".join(str(message.get("content") or "") for message in completion)
    return ""


def _baseline(comparisons: Sequence[Comparison]) -> str:
    halves = [
        {
            candidate.source
            for candidate in comparison.answers
            if candidate.score == 0.5 and candidate.source is not None
        }
        for comparison in comparisons
    ]
    always_half = set.intersection(*halves) if halves else set()
    if len(always_half) != 1:
        raise InputError(
            "cannot tell which system is the baseline",
            field="source",
            found=f"{len(always_half)} sources whose score is 0.5 in every comparison",
            remedy="Name it with --baseline",
        )
    return str(next(iter(always_half)))
