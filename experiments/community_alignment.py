"""Candidates that differ in what they value let a minority be learned

Four values with shares .70, .20, .06, .04 and sets of four candidates (Zhang, Milli et al. 2025). Independent draws
almost never show the rare ones. The stand-in for negatively correlated sampling draws without replacement and draws
30% of the slots again. A person of a value takes it where it is on offer, else any candidate; a logit over values is
fitted to 100 choices (ridge 0.01), and the policy is steered by it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from assent.evaluation.candidate_diversity import correlation_ratio, independent_coverage

SHARES = np.array([0.70, 0.20, 0.06, 0.04])
EXPECTED = {
    "iid_coverage_rare": "0.16 (formula .151)",
    "nc_coverage_rare": "0.72",
    "iid_steered_6": "0.44",
    "nc_steered_6": "0.70",
    "iid_steered_4": "0.32",
    "nc_steered_4": "0.62",
}
CLAIMS = {
    "coverage of both minority values rises": lambda n: (
        n["nc_coverage_rare"] > n["iid_coverage_rare"] and n["nc_coverage_6"] > n["iid_coverage_6"]
    ),
    "both minorities can be steered to": lambda n: (
        n["nc_steered_6"] > n["iid_steered_6"] and n["nc_steered_4"] > n["iid_steered_4"]
    ),
    "sets are negatively correlated": lambda n: n["nc_ratio"] < 1 and abs(n["iid_ratio"] - 1) < 0.1,
}
QUICK: dict[str, Any] = {"people": 2, "sets": 200}


def run(seed: int, people: int = 40, sets: int = 4000) -> dict[str, float]:
    generator = np.random.default_rng(seed)
    numbers = {"formula_coverage_rare": independent_coverage(SHARES.tolist(), 4)[3]}
    for name, draw in (("iid", _independent), ("nc", _negative)):
        table = np.array([draw(generator) for _ in range(sets)])
        numbers[f"{name}_coverage_6"] = float((table == 2).any(axis=1).mean())
        numbers[f"{name}_coverage_rare"] = float((table == 3).any(axis=1).mean())
        numbers[f"{name}_ratio"] = correlation_ratio(table.tolist(), 4)
        for value, label in ((2, "6"), (3, "4")):
            steered = [_steered(value, draw, generator) for _ in range(people)]
            numbers[f"{name}_steered_{label}"] = float(np.mean(steered))
    return numbers


def _independent(generator: np.random.Generator) -> np.ndarray[Any, Any]:
    return generator.choice(4, size=4, p=SHARES)


def _negative(generator: np.random.Generator) -> np.ndarray[Any, Any]:
    drawn = generator.permutation(4)
    again = generator.random(4) < 0.3
    return np.where(again, _independent(generator), drawn)


def _steered(value: int, draw: Any, generator: np.random.Generator) -> float:
    """P(value) of the policy after learning from 100 choices of one person."""
    sets, choices = [], []
    for _ in range(100):
        candidates = draw(generator)
        wanted = np.flatnonzero(candidates == value)
        sets.append(candidates)
        choices.append(int(generator.choice(wanted if len(wanted) else np.arange(4))))
    table, chosen = np.array(sets), np.array(choices)

    def loss(utility: np.ndarray[Any, Any]) -> float:
        offered = utility[table]
        picked = offered[np.arange(100), chosen]
        return float((np.logaddexp.reduce(offered, axis=1) - picked).mean() + 0.01 * (utility**2).sum())

    utility = minimize(loss, np.zeros(4), method="BFGS").x
    policy = SHARES * np.exp(utility)
    return float(policy[value] / policy.sum())
