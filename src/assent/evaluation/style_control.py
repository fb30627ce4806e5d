"""Style features of battles, as covariates beside the systems in a Bradley-Terry fit.

Source: Li, Angelopoulos, Chiang 2024 (the arena's style control): (a - b) / (a + b) of tokens, headers, lists and
bold text, standardised over the battles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def style_features(first: Array, second: Array, offset: float = 1.0, ddof: int = 0) -> Array:
    """[N, F] standardised relative differences of F style counts of the two answers ([N, F] each).

    Args:
        first: counts of answer a.
        second: counts of answer b.
        offset: added to the denominator; 1 as the arena does (keeps 0/0 out), 0 for plain lengths.
        ddof: 0 as the arena does, 1 as Arena-Hard does.
    """
    relative = (first - second) / (first + second + offset)
    deviation = relative.std(axis=0, ddof=ddof)
    return np.asarray((relative - relative.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0), dtype=np.float64)
