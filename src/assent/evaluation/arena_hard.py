"""Arena-Hard's score of a system against a baseline from two games per prompt, and its intervals.

Source: Li et al. 2024, arXiv 2406.11939. In game 1 the baseline is shown first, in game 2 the system. A strong
verdict (>>) counts as three games. Score = mean over the games, from the system's view.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIRST_SHOWN: dict[str, tuple[float, bool]] = {
    "A>>B": (1.0, True),
    "A>B": (1.0, False),
    "A=B": (0.5, False),
    "B>A": (0.0, False),
    "B>>A": (0.0, True),
}
"""For each verdict: what it gives the answer shown first, and whether it is strong."""

STRONG_WEIGHT = 3


def prompt_scores(baseline_first: str, system_first: str, weight: int = STRONG_WEIGHT) -> list[float]:
    """The games of one prompt from the system's view, the one that shows it first first; strong ones repeated."""
    (first, first_strong), (second, second_strong) = FIRST_SHOWN[baseline_first], FIRST_SHOWN[system_first]
    return [second] * (weight if second_strong else 1) + [1 - first] * (weight if first_strong else 1)


def arena_score(prompts: Sequence[Sequence[float]]) -> float:
    """Mean over all games, in [0, 1]."""
    return float(np.mean([score for prompt in prompts for score in prompt]))


def arena_interval(prompts: Sequence[Sequence[float]], rounds: int = 100, seed: int = 0) -> tuple[float, float]:
    """The 5th and 95th percentile of the score over bootstrap rounds that draw prompts."""
    generator = np.random.default_rng(seed)
    draws = [generator.integers(0, len(prompts), len(prompts)) for _ in range(rounds)]
    scores: Array = np.array([arena_score([prompts[index] for index in draw]) for draw in draws])
    low, high = np.percentile(scores, [5, 95])
    return float(low), float(high)
