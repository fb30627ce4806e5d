"""Calibration: is a preference of 80% right eight times out of ten?

Sources: Guo et al. 2017, arXiv 1706.04599 (ECE, temperature); for reward models: Zeng et al. 2023, arXiv 2312.07401.

p = sigmoid(gap) of the preferred candidate. Every pair enters twice, as (p, 1) and (1 - p, 0), into bins (lo, hi] of
equal width over [0, 1], so that nothing depends on which candidate stands first. For an even number of bins the
errors are those of confidence = max(p, 1 - p) against [gap > 0]. Entering each pair once with label 1 gives another
number, and a wrong one. A reward's calibration depends on its scale: of an implicit reward, on beta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from assent.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """One bin of the reliability diagram."""

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class Calibration:
    """How far confidence can be trusted.

    Args:
        ece: expected calibration error: |sum of confidences - sum of rights| over bins, by pairs.
        ace: the same, each non-empty bin (of both orders) counting alike.
        mce: the worst bin.
        nll: mean -log p, in nats; log 2 for a coin.
        brier: mean (1 - p)^2.
        accuracy: share of gaps above 0; ties are wrong.
        temperature: T > 0 that makes mean -log sigmoid(gap / T) smallest on these pairs.
        nll_at_temperature: that value; accuracy does not change.
        bins: confidence against accuracy, of the upper half.
        pairs: how many.
    """

    ece: float
    ace: float
    mce: float
    nll: float
    brier: float
    accuracy: float
    temperature: float
    nll_at_temperature: float
    bins: tuple[Bin, ...]
    pairs: int


def calibration(gaps: Sequence[float], bins: int = 10) -> Calibration:
    """The calibration of gaps (logits of preferred against other); gaps without a verdict are left out."""
    values = np.asarray(gaps, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        raise InputError("calibration of no pair", expected="at least one pair with a verdict")
    if bins < 1:
        raise InputError("at least one bin", field="bins", found=str(bins))
    probability = np.concatenate([expit(values), expit(-values)])
    label = np.concatenate([np.ones_like(values), np.zeros_like(values)])
    which = bin_of(probability, bins)
    counts = np.bincount(which, minlength=bins)
    error = np.abs(np.bincount(which, probability - label, minlength=bins))
    each = error[counts > 0] / counts[counts > 0]
    temperature = fitted_temperature(values)
    return Calibration(
        ece=float(error.sum() / len(probability)),
        ace=float(each.mean()),
        mce=float(each.max()),
        nll=negative_log_likelihood(values),
        brier=float((expit(-values) ** 2).mean()),
        accuracy=float((values > 0).mean()),
        temperature=temperature,
        nll_at_temperature=negative_log_likelihood(values / temperature),
        bins=_diagram(values, bins),
        pairs=len(values),
    )


def bin_of(probability: Array, bins: int) -> NDArray[np.int64]:
    """[N] the bin (lo, hi] of each probability; 0 falls into the first."""
    # Rounding up i / bins * bins could move a value on an edge; comparing with the edges cannot.
    edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, probability, side="left").astype(np.int64)


def negative_log_likelihood(gaps: Array) -> float:
    """Mean -log sigmoid(gap), in nats."""
    return float(np.logaddexp(0, -gaps).mean())


def fitted_temperature(gaps: Array, largest: float = 1e4) -> float:
    """T in [1 / largest, largest] with the smallest mean -log sigmoid(gap / T).

    With every pair right, or fewer than half, the best T is at a bound (0 or infinity); the bound is returned.
    """
    result = minimize_scalar(
        lambda log_t: negative_log_likelihood(gaps / np.exp(log_t)),
        bounds=(-np.log(largest), np.log(largest)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(np.exp(result.x))


def _diagram(gaps: Array, bins: int) -> tuple[Bin, ...]:
    confidence = expit(np.abs(gaps))
    right = (gaps > 0).astype(np.float64) + 0.5 * (gaps == 0)
    which = bin_of(confidence, bins)
    found = []
    for index in range(bins):
        rows = which == index
        if rows.any():
            mean, share = float(confidence[rows].mean()), float(right[rows].mean())
            found.append(Bin(index / bins, (index + 1) / bins, mean, share, int(rows.sum())))
    return tuple(found)
