"""MODPO reaches the policy of the weighted reward; averaging probabilities does not

A softmax over 6 answers, a random reference, two rewards, beta 0.5. Labels are exact Bradley-Terry probabilities of
the first reward over all 15 pairs, the second reward is the margin; Adam, 3000 steps. The optimum under the weighted
reward is the geometric mixture of the two single optima.
"""

from __future__ import annotations

from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from experiments._worlds import fitted, judged

EXPECTED = {
    "modpo_off": "<= 3e-16",
    "geometric_off": "1e-16",
    "arithmetic_off": "0.04 to 0.13",
}
CLAIMS = {
    "MODPO arrives at the weighted optimum": lambda n: n["modpo_off"] < 1e-8,
    "so does the geometric mixture": lambda n: n["geometric_off"] < 1e-12,
    "the arithmetic mixture does not": lambda n: n["arithmetic_off"] > 0.02,
    "and earns less of the weighted objective": lambda n: n["arithmetic_loss"] > 0,
}
QUICK: dict[str, Any] = {"steps": 100}
BETA = 0.5


def run(seed: int, steps: int = 3000) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(6, generator=generator, dtype=torch.float64).log_softmax(dim=0)
    rewards = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    pairs = torch.tensor(list(permutations(range(6), 2)))
    weight = (rewards[0, pairs[:, 0]] - rewards[0, pairs[:, 1]]).sigmoid()
    single = [optimum(reference, reward) for reward in rewards]
    off: dict[str, list[float]] = {"modpo": [], "geometric": [], "arithmetic": [], "loss": []}
    for share in (0.2, 0.5, 0.8):
        target = optimum(reference, share * rewards[0] + (1 - share) * rewards[1])

        def make(logits: Tensor) -> Any:
            return judged(
                logits.log_softmax(dim=0)[pairs], reference[pairs], dimensions={"second": rewards[1][pairs]}
            )

        spec = {"modpo": {"margin_weights": {"second": 1 - share}, "weight_of_pairs": share, "beta": BETA}}
        found = fitted(spec, make, {"logits": reference}, steps, rate=0.05, weight=weight, decay=True)["logits"]
        geometric = (share * single[0] + (1 - share) * single[1]).log_softmax(dim=0)
        arithmetic = (share * single[0].exp() + (1 - share) * single[1].exp()).log()
        mixed = share * rewards[0] + (1 - share) * rewards[1]
        for name, policy in (
            ("modpo", found.log_softmax(dim=0)),
            ("geometric", geometric),
            ("arithmetic", arithmetic),
        ):
            off[name].append(float((policy.exp() - target.exp()).abs().max()))
        off["loss"].append(achieved(target, reference, mixed) - achieved(arithmetic, reference, mixed))
    return {
        "modpo_off": max(off["modpo"]),
        "geometric_off": max(off["geometric"]),
        "arithmetic_off": max(off["arithmetic"]),
        "arithmetic_loss": min(off["loss"]),
    }


def optimum(reference: Tensor, reward: Tensor) -> Tensor:
    """[6] log-probabilities of the policy that maximises reward - beta KL."""
    return (reference + reward / BETA).log_softmax(dim=0)


def achieved(policy: Tensor, reference: Tensor, reward: Tensor) -> float:
    """Expected reward minus beta KL to the reference."""
    return float((policy.exp() * (reward - BETA * (policy - reference))).sum())
