"""How much each property of an answer counts in a judge's preferences (preference dissection).

Source: Li et al. 2024, arXiv 2402.11296. With x_i in [-1, 1] saying how much better answer A has property i,

    P(A preferred | x) = sigmoid(sum_i alpha_i x_i),   alpha_i ~ Laplace(0, b), b = 0.1, no intercept

100 sigmoid(alpha_i) is the probability, in per cent, that an answer better in property i alone is preferred. The
weight is the posterior mean. It is sampled here by Hamiltonian Monte Carlo with a step size adapted in the warm-up
(the source uses NUTS, which adapts the path length too); the mode is the L1-penalised fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit

from assent.errors import InputError

Array = NDArray[np.float64]

PRIOR_SCALE = 0.1
TARGET_ACCEPTANCE, PATH_LENGTH = 0.8, 1.5
LONGER_THAN = (1, 3, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19)
"""For a shorter answer of 0 to 11 words: how many words the other needs to count as longer."""


@dataclass(frozen=True)
class PropertyWeights:
    """Posterior of the weights, D properties.

    Args:
        mean: [D] posterior means.
        low: [D] 2.5th percentiles.
        high: [D] 97.5th percentiles.
    """

    mean: Array
    low: Array
    high: Array

    @property
    def probability(self) -> Array:
        """[D] per cent preferred if better in this property alone."""
        return 100 * np.asarray(expit(self.mean), dtype=np.float64)


def property_weights(
    features: Array,
    preferred: Array,
    scale: float = PRIOR_SCALE,
    samples: int = 2000,
    warmup: int = 500,
    chains: int = 4,
    seed: int = 0,
) -> PropertyWeights:
    """The posterior of the weights given N pairs.

    Args:
        features: [N, D] how much better the first answer is in each property.
        preferred: [N] 1 where the first answer was preferred, else 0.
        scale: b of the prior.
        samples: kept, per chain.
        warmup: dropped, per chain.
        chains: independent ones.
        seed: of the sampler.

    Raises:
        InputError: the judge always preferred the same side.
    """
    _check(features, preferred)
    draws = np.concatenate(
        [_chain(features, preferred, scale, samples, warmup, np.random.default_rng([seed, c])) for c in range(chains)]
    )
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return PropertyWeights(draws.mean(axis=0), low, high)


def property_mode(features: Array, preferred: Array, scale: float = PRIOR_SCALE) -> Array:
    """[D] posterior mode: logistic regression with penalty sum |alpha| / b."""
    _check(features, preferred)
    size = features.shape[1]

    def loss(halves: Array) -> tuple[float, Array]:
        # alpha = positive part - negative part: the penalty becomes linear, and bounds take the place of |.|
        value, gradient = _negative_log_likelihood(halves[:size] - halves[size:], features, preferred)
        return value + float(halves.sum()) / scale, np.concatenate([gradient, -gradient]) + 1 / scale

    options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(
        loss, np.zeros(2 * size), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 2 * size, options=options
    ).x
    return np.asarray(found[:size] - found[size:], dtype=np.float64)


def held_out_accuracy(features: Array, preferred: Array, folds: int = 10, scale: float = PRIOR_SCALE) -> float:
    """Share of the pairs that weights fitted on the other folds (by mode) predict."""
    parts = np.array_split(np.arange(len(preferred)), folds)
    right = 0
    for part in parts:
        rest = np.setdiff1d(np.arange(len(preferred)), part)
        weights = property_mode(features[rest], preferred[rest], scale)
        right += int(((features[part] @ weights > 0) == (preferred[part] > 0.5)).sum())
    return right / len(preferred)


def judge_similarity(mine: Mapping[str, Array], theirs: Mapping[str, Array], rank: bool = False) -> float:
    """Mean over scenarios of the correlation of two judges' weights (Pearson, or Spearman by rank)."""
    correlate = stats.spearmanr if rank else stats.pearsonr
    return float(np.mean([correlate(mine[name], theirs[name]).statistic for name in mine]))


def rating_feature(first: Array, second: Array, threshold: float = 3.0) -> tuple[Array, Array]:
    """[N] sign and [N] clipped share of the difference of two ratings."""
    gap = first - second
    return np.sign(gap), np.clip(gap / threshold, -1, 1)


def length_feature(first: int, second: int, threshold: int = 500) -> tuple[int, float]:
    """Whether the first answer is clearly longer (1), shorter (-1) or neither, and the log-scaled difference."""
    gap = first - second
    size = math.copysign(min(math.log1p(abs(gap)) / math.log1p(threshold), 1.0), gap) if gap else 0.0
    shorter, longer = sorted((first, second))
    return (int(math.copysign(1, gap)) if _clearly_longer(shorter, longer) else 0), size


def _clearly_longer(shorter: int, longer: int) -> bool:
    if shorter < len(LONGER_THAN):
        return longer >= LONGER_THAN[shorter]
    gap = longer - shorter
    return any(shorter <= share * longer and gap >= least for share, least in ((0.7, 10), (0.8, 20), (0.9, 40)))


def label_of_two_orders(order_ab: Sequence[float], order_ba: Sequence[float]) -> str:
    """The label from P(token A), P(token B) in both orders; the answers are exchanged in the second."""
    return "A" if order_ab[0] + order_ba[1] > order_ab[1] + order_ba[0] else "B"


def _check(features: Array, preferred: Array) -> None:
    if len(np.unique(preferred)) < 2:
        raise InputError(
            "the judge always preferred the same side, so that no weight can be told",
            found=f"{len(preferred)} pairs",
            remedy="Shuffle the sides of the pairs",
        )
    if not np.isfinite(features).all():
        raise InputError("a property is not a finite number", field="features")


def _negative_log_likelihood(alpha: Array, features: Array, preferred: Array) -> tuple[float, Array]:
    logits = features @ alpha
    value = float((np.logaddexp(0, logits) - preferred * logits).sum())
    return value, np.asarray(features.T @ (expit(logits) - preferred), dtype=np.float64)


def _chain(
    features: Array, preferred: Array, scale: float, samples: int, warmup: int, generator: np.random.Generator
) -> Array:
    """[samples, D] draws of one chain."""

    def potential(alpha: Array) -> tuple[float, Array]:
        value, gradient = _negative_log_likelihood(alpha, features, preferred)
        return value + float(np.abs(alpha).sum()) / scale, gradient + np.sign(alpha) / scale

    # Unit mass where the posterior is about as wide as its likelihood and prior allow.
    width = 1 / np.sqrt((features**2).sum(axis=0) / 4 + 1 / (2 * scale**2))
    position = generator.normal(size=features.shape[1]) * width
    value, gradient = potential(position)
    log_step, averaged, error = math.log(0.3), math.log(0.3), 0.0
    draws = np.empty((samples, features.shape[1]))
    for iteration in range(warmup + samples):
        step = math.exp(log_step if iteration < warmup else averaged)
        momentum = generator.normal(size=len(position))
        start = value + float(momentum @ momentum) / 2
        proposal, moved, new_gradient, new_value = position, momentum, gradient, value
        leaps = max(1, math.ceil(generator.uniform(0.5, 1.5) * PATH_LENGTH / step))
        for _ in range(leaps):
            moved = moved - step / 2 * width * new_gradient
            proposal = proposal + step * width * moved
            new_value, new_gradient = potential(proposal)
            moved = moved - step / 2 * width * new_gradient
        acceptance = math.exp(min(0.0, start - new_value - float(moved @ moved) / 2))
        if generator.random() < acceptance:
            position, value, gradient = proposal, new_value, new_gradient
        if iteration < warmup:
            # Dual averaging (Hoffman and Gelman 2014, section 3.2).
            count = iteration + 1
            error += (TARGET_ACCEPTANCE - acceptance - error) / (count + 10)
            log_step = math.log(3.0) - math.sqrt(count) / 0.05 * error
            log_step = min(log_step, math.log(1.5))
            averaged += count**-0.75 * (log_step - averaged)
        else:
            draws[iteration - warmup] = position
    return draws
