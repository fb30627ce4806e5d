"""What a judge weighs comes back from its preferences, and whoever knows it can win or lose on purpose

29 weights from Laplace(0, 0.25); answers have each property or not, with even chances, so that half of the
comparisons are 0; the judge prefers the first with probability sigmoid(alpha . x) (Li et al. 2024). Posterior from
2000 pairs and from 400 under the published prior of scale 0.1. Over ten more judges at 400 pairs: the share of
weights inside their 95% intervals, under that prior, which shrinks large weights too far, and under the planted one.
Then the best of eight answers by the weights that 400 pairs gave, and by their negative, against a random answer,
before the planted judge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from assent.evaluation.dissection import (
    PRIOR_SCALE,
    held_out_accuracy,
    property_mode,
    property_weights,
    rating_feature,
)

Array = NDArray[np.float64]
PROPERTIES, PLANTED_SCALE, CANDIDATES = 29, 0.25, 8
EXPECTED = {
    "pearson_mode_many": "0.97 to 0.99 (mode, 2000 pairs)",
    "pearson_mode_few": "0.66 to 0.91 (mode, 400 pairs)",
    "pearson_many": "as the mode",
    "pearson_few": "as the mode",
    "covered_published_prior": "below 0.95: the prior is narrower than the planted one",
    "covered_planted_prior": "0.95",
    "best_of_eight": "clearly above 0.5",
    "worst_of_eight": "clearly below 0.5",
}
CLAIMS = {
    "2000 pairs give the weights back": lambda n: min(n["pearson_many"], n["pearson_mode_many"]) > 0.95,
    "400 pairs give less of them": lambda n: 0.6 < n["pearson_few"] < n["pearson_many"],
    "under the planted prior the intervals hold what they should": lambda n: (
        abs(n["covered_planted_prior"] - 0.95) < 0.04
    ),
    "under the narrower published one they hold less": lambda n: (
        n["covered_published_prior"] < n["covered_planted_prior"] - 0.05
    ),
    "the fitted weights predict nearly as well as the planted ones": lambda n: (
        n["held_out_accuracy"] > n["planted_accuracy"] - 0.03
    ),
    "choosing by the weights wins, choosing against them loses": lambda n: (
        n["best_of_eight"] > 0.6 and n["worst_of_eight"] < 0.4
    ),
}
QUICK: dict[str, Any] = {"many": 300, "few": 150, "samples": 60, "prompts": 50, "judges": 1}


def run(
    seed: int, many: int = 2000, few: int = 400, samples: int = 500, prompts: int = 1000, judges: int = 10
) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    planted, features, preferred = _judged(many, generator)
    of_many = property_weights(features, preferred, samples=samples, warmup=300, chains=2, seed=seed)
    of_few = property_weights(features[:few], preferred[:few], samples=samples, warmup=300, chains=2, seed=seed)
    others = [_judged(few, generator) for _ in range(judges)]
    return {
        "pearson_many": _correlation(of_many.mean, planted),
        "pearson_few": _correlation(of_few.mean, planted),
        "pearson_mode_many": _correlation(property_mode(features, preferred), planted),
        "pearson_mode_few": _correlation(property_mode(features[:few], preferred[:few]), planted),
        "covered_published_prior": float(np.mean([_covered(*other, PRIOR_SCALE) for other in others])),
        "covered_planted_prior": float(np.mean([_covered(*other, PLANTED_SCALE) for other in others])),
        "held_out_accuracy": held_out_accuracy(features, preferred),
        "planted_accuracy": float(((features @ planted > 0) == (preferred > 0.5)).mean()),
        "best_of_eight": _wins(of_few.mean, planted, prompts, generator),
        "worst_of_eight": _wins(-of_few.mean, planted, prompts, generator),
    }


def _judged(pairs: int, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """A judge's weights, pairs compared by property, and whether the judge prefers the first."""
    planted = generator.laplace(scale=PLANTED_SCALE, size=PROPERTIES)
    first, second = generator.integers(0, 2, size=(2, pairs, PROPERTIES)).astype(np.float64)
    features = rating_feature(first, second)[0]
    return planted, features, (generator.random(pairs) < expit(features @ planted)).astype(np.float64)


def _correlation(found: Array, planted: Array) -> float:
    return float(np.corrcoef(found, planted)[0, 1])


def _covered(planted: Array, features: Array, preferred: Array, scale: float) -> float:
    """Share of the planted weights inside their 95% intervals."""
    found = property_weights(features, preferred, scale, samples=300, warmup=200, chains=1)
    return float(((found.low <= planted) & (planted <= found.high)).mean())


def _wins(weights: Array, planted: Array, prompts: int, generator: np.random.Generator) -> float:
    """How often the planted judge prefers the best of the candidates by these weights to an answer at random."""
    candidates = generator.integers(0, 2, size=(prompts, CANDIDATES, PROPERTIES)).astype(np.float64)
    chosen = candidates[np.arange(prompts), (candidates @ weights).argmax(axis=1)]
    other = generator.integers(0, 2, size=(prompts, PROPERTIES)).astype(np.float64)
    return float(expit(rating_feature(chosen, other)[0] @ planted).mean())
