"""Whether a difference measured on the same prompts could be chance: the sign-flip permutation test.

Source: Fisher 1935; paired randomisation as in Yeh 2000, arXiv cs/0008005. If both systems were alike, each prompt's
difference could as well have had the other sign. The p-value is the share of sign patterns whose mean is at least as
far from 0 as the one found; all patterns up to 12 prompts, drawn ones beyond, the found one counted among them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assent.errors import InputError

MOST_FOR_ALL = 12
ROUNDS = 9999


def sign_flip_test(
    differences: ArrayLike, groups: Sequence[Hashable] | None = None, rounds: int = ROUNDS, seed: int = 0
) -> float:
    """The two-sided p-value of paired differences having mean 0.

    Args:
        differences: [N], NaN where a partner is missing (left out).
        groups: N names of the prompt each belongs to, flipped together; default: each its own.
        rounds: sign patterns drawn where there are too many for all.
        seed: of those.

    Raises:
        InputError: no difference, or names that do not match.
    """
    sums = _by_group(np.asarray(differences, dtype=np.float64).ravel(), groups)
    found = abs(sums.sum())
    if len(sums) <= MOST_FOR_ALL:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(sums))))
        return float((np.abs(signs @ sums) >= found - 1e-12).mean())
    generator = np.random.default_rng(seed)
    extreme = 0
    for start in range(0, rounds, 1000):
        signs = generator.integers(0, 2, size=(min(1000, rounds - start), len(sums))) * 2.0 - 1.0
        extreme += int((np.abs(signs @ sums) >= found - 1e-12).sum())
    return (extreme + 1) / (rounds + 1)


def _by_group(values: NDArray[np.float64], groups: Sequence[Hashable] | None) -> NDArray[np.float64]:
    if groups is not None and len(groups) != len(values):
        raise InputError("every difference needs its group", found=f"{len(values)} values, {len(groups)} groups")
    names = range(len(values)) if groups is None else groups
    sums: dict[Hashable, float] = {}
    for name, value in zip(names, values.tolist(), strict=True):
        if value == value:
            sums[name] = sums.get(name, 0.0) + value
    if not sums:
        raise InputError("a test of nothing", found=f"{len(values)} differences, none of them a number")
    return np.array(list(sums.values()))
