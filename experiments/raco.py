"""Conflicting objectives: the weighted sum's endpoint by another path

A logistic model with 8 parameters on 300 feature differences, two drawn labellings of directions with cosine -0.7;
full-batch steps of 0.5, weights (0.8, 0.2). On a convex problem trained to the end, the conflict-averse directions
arrive where the weighted sum does; MGDA and PCGrad do not follow the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assent.objectives import build_objective
from assent.training.gradients import build_combination
from experiments._worlds import judged

METHODS: dict[str, Any] = {
    "sum": "weighted_sum",
    "cagrad": {"cagrad": {"radius": 0.4}},
    "raco": {"raco": {"radius": 0.4}},
    "mgda": "mgda",
    "pcgrad": "pcgrad",
}
EXPECTED = {
    "apart": "0 (weighted sum, CAGrad, RACO: loss 0.5414 to 4 digits)",
    "first_sum": "0.354",
    "second_sum": "1.293",
    "first_mgda": "0.662",
    "second_mgda": "0.662",
    "first_pcgrad": "0.643",
    "second_pcgrad": "0.681",
    "early_second_raco": "1.011",
    "early_second_sum": "1.118",
}
CLAIMS = {
    "the endpoints are equal": lambda n: n["apart"] < 1e-3,
    "MGDA treats both alike, whatever the weights": lambda n: abs(n["first_mgda"] - n["second_mgda"]) < 0.01,
    "the minority objective is protected early": lambda n: n["early_second_raco"] < n["early_second_sum"],
    "for which the majority pays early": lambda n: n["early_first_raco"] > n["early_first_sum"],
}
QUICK: dict[str, Any] = {"steps": 30}
WEIGHTS = {"first": 0.8, "second": 0.2}


def run(seed: int, steps: int = 400) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(300, 8, generator=generator, dtype=torch.float64)
    one, free = (torch.randn(8, generator=generator, dtype=torch.float64) for _ in range(2))
    one = one / one.norm()
    free = free - (free @ one) * one
    other = -0.7 * one + (1 - 0.7**2) ** 0.5 * free / free.norm()
    # Labels are drawn, so that no direction fits them all and the optimum is finite.
    noise = torch.rand(2, 300, generator=generator, dtype=torch.float64).logit()
    dimensions = {
        name: torch.stack([torch.zeros(300, dtype=torch.float64), -((3 * features @ way) + noise[at]).sign()], dim=1)
        for at, (name, way) in enumerate((("first", one), ("second", other)))
    }
    objective = build_objective({"raco": {"dimensions": ["first", "second"], "beta": 1.0}})
    numbers: dict[str, float] = {}
    losses: dict[str, float] = {}
    for name, spec in METHODS.items():
        combination = build_combination(spec, seed)
        combination.weights = WEIGHTS
        theta = torch.zeros(8, dtype=torch.float64)
        for step in range(steps):
            value = theta.clone().requires_grad_()
            mean = terms(objective, features @ value, dimensions)
            gradients = [torch.autograd.grad(one, value, retain_graph=True) for one in mean]
            (direction,) = combination(gradients, ("first", "second"))
            assert direction is not None
            theta = theta - 0.5 * direction
            if step + 1 == min(20, steps):
                early = terms(objective, features @ theta, dimensions).tolist()
                numbers[f"early_first_{name}"], numbers[f"early_second_{name}"] = early
        first, second = terms(objective, features @ theta, dimensions).tolist()
        numbers[f"first_{name}"], numbers[f"second_{name}"] = first, second
        losses[name] = 0.8 * first + 0.2 * second
    ends = [losses[name] for name in ("sum", "cagrad", "raco")]
    return {"apart": max(ends) - min(ends), **numbers}


def terms(objective: Any, margin: Tensor, dimensions: dict[str, Tensor]) -> Tensor:
    """[2] mean loss of each objective."""
    policy = torch.stack([margin, torch.zeros_like(margin)], dim=1)
    mean: Tensor = objective(judged(policy, torch.zeros_like(policy), dimensions=dimensions)).mean(dim=0)
    return mean
