"""Intervals: how far an estimate could be off because only so many prompts were judged.

Wilson's interval (1927) for shares of independent yes/no outcomes; the percentile bootstrap (Efron 1979) for means
of anything else, resampling whole groups where several values belong to one prompt (Cameron, Gelbach, Miller 2008):
samples of one prompt are alike, and counting them as independent makes intervals too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from assent.errors import InputError

BOOTSTRAP_ROUNDS = 4000
"""Resamples; the ends of a 95% interval then move by about 2% of its width from seed to seed."""


@dataclass(frozen=True)
class Interval:
    """An estimate between two bounds.

    Args:
        low: lower bound.
        estimate: the value found.
        high: upper bound.
        count: how many independent units (prompts, pairs) it rests on.
        level: the share of such intervals that would hold the truth.
    """

    low: float
    estimate: float
    high: float
    count: int
    level: float = 0.95

    def above(self, value: float) -> bool:
        """Whether the whole interval lies above the value."""
        return self.low > value

    def below(self, value: float) -> bool:
        """Whether the whole interval lies below the value."""
        return self.high < value

    def percent(self) -> str:
        """The shares as text: `71.0% [66.1, 75.4]`."""
        return f"{100 * self.estimate:.1f}% [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


def wilson_interval(successes: float, count: int, level: float = 0.95) -> Interval:
    """The interval of a share of independent outcomes; right near 0 and 1, where the normal one is not.

        centre = (k + z^2/2) / (n + z^2),   half width = z sqrt(k (n - k) / n + z^2/4) / (n + z^2)

    Args:
        successes: k, how many outcomes were a success, 0 to n; ties may count one half each.
        count: n, at least 1.
        level: confidence level, in (0, 1).

    Raises:
        InputError: nothing was counted, or more successes than outcomes.
    """
    _check_level(level)
    if count < 1 or not 0 <= successes <= count:
        raise InputError("no share to take", found=f"{successes} successes of {count}", expected="0 to n of n >= 1")
    z = float(norm.ppf((1 + level) / 2))
    centre = (successes + z * z / 2) / (count + z * z)
    half = z * math.sqrt(successes * (count - successes) / count + z * z / 4) / (count + z * z)
    estimate = successes / count
    # The bounds hold the estimate by construction, up to rounding at 0 and 1.
    return Interval(
        min(max(0.0, centre - half), estimate), estimate, max(min(1.0, centre + half), estimate), count, level
    )


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    rounds: int = BOOTSTRAP_ROUNDS,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of a mean.

    Args:
        values: [N], NaN where there is none (left out).
        groups: N names of the unit each value belongs to, resampled together; default: each value its own.
        level: confidence level, in (0, 1).
        rounds: resamples.
        seed: the same seed gives the same interval.

    Raises:
        InputError: no value, or names that do not match the values.
    """
    _check_level(level)
    sums, counts = _by_group(np.asarray(values, dtype=np.float64).ravel(), groups)
    units = len(sums)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(units, np.full(units, 1 / units), size=rounds)
    means = (drawn @ sums) / (drawn @ counts)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(sums.sum() / counts.sum()), float(high), units, level)


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    rounds: int = BOOTSTRAP_ROUNDS,
    seed: int = 0,
) -> Interval:
    """The interval of mean(first) - mean(second), where value n of both belongs to the same prompt.

    Pairing takes out what the prompts themselves vary; a pair with a NaN on either side is left out.
    """
    one, other = np.asarray(first, dtype=np.float64).ravel(), np.asarray(second, dtype=np.float64).ravel()
    if one.shape != other.shape:
        raise InputError("paired values need partners", found=f"{len(one)} and {len(other)} values")
    return bootstrap_interval(one - other, groups, level=level, rounds=rounds, seed=seed)


def _by_group(
    values: NDArray[np.float64], groups: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums and counts of the values of each unit."""
    if groups is not None and len(groups) != len(values):
        raise InputError("every value needs its group", found=f"{len(values)} values, {len(groups)} groups")
    given = ~np.isnan(values)
    if not given.any():
        raise InputError("a mean over nothing", found=f"{len(values)} values, none of them a number")
    names = range(len(values)) if groups is None else groups
    order: dict[Hashable, int] = {}
    index = np.array([order.setdefault(name, len(order)) for name, use in zip(names, given, strict=True) if use])
    kept = values[given]
    return np.bincount(index, weights=kept).astype(np.float64), np.bincount(index).astype(np.float64)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(
            "a confidence level is a share", field="level", found=str(level), expected="above 0, below 1"
        )
