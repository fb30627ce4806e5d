"""Length-controlled win rate: what the win rate would be had both answers the same length.

Source: Dubois, Galambosi, Liang, Hashimoto 2024, arXiv 2404.04475, eq. 2. For one system against the baseline,

    P(system wins | x) = sigmoid(theta + phi tanh(delta_x / s) + psi gamma_x)

delta_x is the baseline's length minus the system's in characters, s its standard deviation (n - 1), gamma_x the
difficulty of instruction x, the same for all systems. Length-controlled rate = 100 mean_x sigmoid(theta + psi
gamma_x): the length term is set to 0. Soft verdicts x in [0, 1] enter twice, as a win of weight x and a loss of
weight 1 - x.

The published tool fits with an L1 penalty chosen by five grouped folds (`fit="alpaca_eval"`, its solver and
seed), adds verdicts of prompted longer and shorter versions of the baseline itself at weight 0.1, and reads
gamma from a file fitted over all systems of its leaderboard. Without that file gamma is estimated here from the
systems at hand (`instruction_difficulty`), and without any difficulty the rate is a single sigmoid(theta).
`fit="likelihood"` is the unpenalised optimum, better below a hundred prompts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold

Array = NDArray[np.float64]

GAMED_WEIGHT = 0.1
FOLDS, PENALTIES, SEED = 5, 10, 123
DIFFICULTY_PENALTY = 0.1


@dataclass(frozen=True)
class GamedBaseline:
    """Verdicts on longer and shorter versions of the baseline against itself; they hold the length effect down."""

    preference: Array
    standardised_gap: Array
    difficulty: Array


@dataclass(frozen=True)
class LengthControlled:
    """The rate and its standard error in per cent, and the coefficients of the fit."""

    win_rate: float
    standard_error: float
    length: float
    difficulty: float
    system: float


def length_controlled(
    preference: Array,
    length_gap: Array,
    difficulty: Array | None = None,
    gamed: GamedBaseline | None = None,
    fit: Literal["alpaca_eval", "likelihood"] = "alpaca_eval",
) -> LengthControlled:
    """The length-controlled win rate of n verdicts; those that are NaN stay out.

    Args:
        preference: [N] probability that the system wins.
        length_gap: [N] characters of the baseline's answer minus the system's.
        difficulty: [N] of the instructions, or None.
        gamed: verdicts on gamed versions of the baseline.
        fit: as the published tool does, or the unpenalised optimum.
    """
    given = ~np.isnan(preference)
    known = np.zeros(len(preference)) if difficulty is None else difficulty
    features = np.column_stack(
        [np.tanh(standardised(length_gap))[given], known[given], np.ones(int(given.sum()))],
    )
    targets, weights = preference[given], np.ones(int(given.sum()))
    if gamed is not None:
        extra = np.column_stack([np.tanh(gamed.standardised_gap), gamed.difficulty, np.zeros(len(gamed.difficulty))])
        features = np.concatenate([features, extra])
        targets = np.concatenate([targets, gamed.preference])
        weights = np.concatenate([weights, np.full(len(extra), GAMED_WEIGHT)])
    used = np.flatnonzero(np.any(features != 0, axis=0))
    coefficients = np.zeros(3)
    solve = _penalised if fit == "alpaca_eval" else _likelihood
    coefficients[used] = solve(features[:, used], targets, weights)
    controlled = expit(coefficients[2] + coefficients[1] * known)
    error = float(controlled.std(ddof=1)) / math.sqrt(len(controlled)) if len(controlled) > 1 else math.nan
    length, psi, theta = (float(value) for value in coefficients)
    return LengthControlled(100 * float(controlled.mean()), 100 * error, length, psi, theta)


def standardised(length_gap: Array) -> Array:
    """The gaps over their standard deviation; 0 where all are equal, which drops the length term."""
    deviation = float(np.nanstd(length_gap, ddof=1)) if len(length_gap) > 1 else 0.0
    return length_gap / deviation if deviation > 0 else np.zeros_like(length_gap)


def instruction_difficulty(preference: Mapping[str, Array], length_gap: Mapping[str, Array]) -> Array:
    """[N] gamma of each instruction, from the verdicts on several systems (five or more are advisable).

    The joint fit sigmoid(theta_m + phi tanh(delta / s_m) + gamma_x) with one phi and a ridge on gamma, which is
    the prior that makes it identifiable; our definition, since the published values are fitted over systems that
    are not at hand.
    """
    outcomes = np.stack(list(preference.values()))
    lengths = np.stack([np.tanh(standardised(length_gap[name])) for name in preference])
    given = ~np.isnan(outcomes)
    lengths, outcomes = np.where(given, lengths, 0.0), np.where(given, outcomes, 0.0)
    systems = len(outcomes)

    def loss(parameters: Array) -> tuple[float, Array]:
        theta, phi, gamma = parameters[:systems], parameters[systems], parameters[systems + 1 :]
        logits = theta[:, None] + phi * lengths + gamma[None]
        residual = np.where(given, expit(logits) - outcomes, 0.0)
        value = np.where(given, np.logaddexp(0, logits) - outcomes * logits, 0.0).sum()
        gradient = np.concatenate(
            [residual.sum(1), [(residual * lengths).sum()], residual.sum(0) + DIFFICULTY_PENALTY * gamma]
        )
        return float(value + DIFFICULTY_PENALTY / 2 * (gamma**2).sum()), gradient

    start = np.zeros(systems + 1 + outcomes.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    return np.asarray(found.x[systems + 1 :], dtype=np.float64)


def _penalised(features: Array, targets: Array, weights: Array) -> Array:
    """Coefficients as the published tool finds them."""
    doubled = np.concatenate([features, features])
    labels = np.concatenate([np.ones(len(targets)), np.zeros(len(targets))])
    copies = np.concatenate([weights * targets, weights * (1 - targets)])
    rows = np.tile(np.arange(len(targets)), 2)
    model = LogisticRegressionCV(
        Cs=PENALTIES,
        cv=list(GroupKFold(FOLDS).split(doubled, labels, rows)),
        l1_ratios=(1,),
        solver="liblinear",
        fit_intercept=False,
        scoring="neg_log_loss",
        random_state=SEED,
        use_legacy_attributes=True,
    )
    model.fit(doubled, labels, sample_weight=copies)
    return np.asarray(model.coef_[0], dtype=np.float64)


def _likelihood(features: Array, targets: Array, weights: Array) -> Array:
    """Coefficients of the weighted maximum of the likelihood."""

    def loss(coefficients: Array) -> tuple[float, Array]:
        logits = features @ coefficients
        value = float((weights * (np.logaddexp(0, logits) - targets * logits)).sum())
        return value, features.T @ (weights * (expit(logits) - targets))

    start = np.zeros(features.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-10}).x, dtype=np.float64)
