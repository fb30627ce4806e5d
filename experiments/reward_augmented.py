"""Pairs that ask for a score teach what each score looks like, and the best is asked for

10 answers to each prompt with true scores 1 to 10, seen through noise 0.3; a bilinear policy between radial features
of quality (6) and of the goal (6); 600 training pairs in which scores 9 and 10 are twenty times under-sampled; DPO,
beta 0.1, 400 Adam steps. Measured on 400 new prompts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments._worlds import fitted, judged

EXPECTED = {
    "blind_10": "9.15 to 9.30",
    "goal_10": "9.35 to 9.77",
    "blind_top": "0.84 to 0.90",
    "goal_top": "0.99 to 1.00",
    "goal_2": "1.95",
    "goal_5": "4.97",
    "goal_8": "8.2",
}
CLAIMS = {
    "asked for 10, the conditioned policy is better": lambda n: n["goal_10"] > n["blind_10"],
    "asked for 2 or 5, it gives that": lambda n: max(abs(n["goal_2"] - 2), abs(n["goal_5"] - 5)) < 0.5,
}
QUICK: dict[str, Any] = {"steps": 20, "count": 100}
CENTRES = torch.linspace(1, 10, 6, dtype=torch.float64)


def run(seed: int, steps: int = 400, count: int = 600) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.ones(10, dtype=torch.float64)
    drawn[8:] /= 20
    pairs = torch.stack([torch.multinomial(drawn, 2, generator=generator) for _ in range(count)])
    pairs = pairs.sort(dim=1, descending=True).values  # the better answer first
    quality = seen(count, generator)
    goals = pairs + 1.0
    # Two rows for each pair: ask for the better answer's score, and for the worse one's with the order reversed.
    rows, answers = torch.arange(count).repeat(2), torch.cat([pairs, pairs.flip(1)])
    asked = torch.cat([goals[:, 0], goals[:, 1]]).double()
    found = {
        "goal": trained(quality[rows], answers, asked, steps),
        "blind": trained(quality, pairs, torch.full((count,), 10.0, dtype=torch.float64), steps),
    }
    test, scores = seen(400, generator), torch.arange(1, 11, dtype=torch.float64)
    numbers = {}
    for name, matrix in found.items():
        for goal in (2, 5, 8, 10):
            chance = log_probs(test, torch.full((400,), float(goal), dtype=torch.float64), matrix).exp()
            if name == "blind" and goal < 10:
                continue  # it has seen one goal only, so that there is nothing to ask for
            numbers[f"{name}_{goal}"] = float((chance @ scores).mean())
            if goal == 10:
                numbers[f"{name}_top"] = float(chance[:, 8:].sum(dim=1).mean())
    return numbers


def seen(count: int, generator: torch.Generator) -> Tensor:
    """[N, 10] qualities of the answers as the policy sees them."""
    return torch.arange(1, 11) + 0.3 * torch.randn(count, 10, generator=generator, dtype=torch.float64)


def radial(values: Tensor) -> Tensor:
    """[..., 6] radial features of a number between 1 and 10."""
    return torch.exp(-0.5 * ((values.unsqueeze(-1) - CENTRES) / 1.8) ** 2)


def log_probs(quality: Tensor, goal: Tensor, matrix: Tensor) -> Tensor:
    """[N, 10] log-probabilities of the answers under a goal."""
    return torch.einsum("nqi,ij,nj->nq", radial(quality), matrix, radial(goal)).log_softmax(dim=1)


def trained(quality: Tensor, answers: Tensor, goal: Tensor, steps: int) -> Tensor:
    """[6, 6] the policy's matrix after DPO from a uniform start."""

    def make(matrix: Tensor) -> Any:
        policy = log_probs(quality, goal, matrix).gather(1, answers)
        return judged(policy, torch.full_like(policy, -torch.log(torch.tensor(10.0)).item()))

    start = {"matrix": torch.zeros(6, 6, dtype=torch.float64)}
    return fitted({"dpo": {"beta": 0.1}}, make, start, steps, rate=0.05)["matrix"]
