"""Soft labels reach the aligned policy and stay there; hard labels run on

A tabular policy, 20 prompts with 8 answers, half of the pairs, a judge whose probabilities carry a little noise;
beta 1, uniform reference, full-batch Adam 0.1. The target is the policy proportional to exp(reward).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from experiments._tabular import batch_of, train

EXPECTED = {
    "kl_soft_200": "0.010 to 0.012",
    "kl_soft_800": "0.010 to 0.012",
    "kl_hard_200": "0.67 to 0.85",
    "kl_hard_800": "0.92 to 1.04",
}
CLAIMS = {
    "soft labels end below 0.03": lambda n: n["kl_soft_800"] < 0.03,
    "and do not move any more": lambda n: abs(n["kl_soft_800"] / n["kl_soft_200"] - 1) < 0.1,
    "hard labels end 20 times further away": lambda n: n["kl_hard_800"] > 20 * n["kl_soft_800"],
    "and are still moving": lambda n: n["kl_hard_800"] > 1.05 * n["kl_hard_200"],
}
QUICK: dict[str, Any] = {"steps": (60, 120)}


def run(seed: int, steps: tuple[int, int] = (200, 800)) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    reward = torch.randn(20, 8, generator=generator, dtype=torch.float64)
    pairs = [(p, i, j) for p in range(20) for i, j in combinations(range(8), 2)]
    kept = torch.randperm(len(pairs), generator=generator)[: len(pairs) // 2].tolist()
    prompts = torch.tensor([pairs[k][0] for k in kept])
    answers = torch.tensor([pairs[k][1:] for k in kept])
    noise = 0.3 * torch.randn(len(kept), generator=generator, dtype=torch.float64)
    log_odds = reward[prompts, answers[:, 0]] - reward[prompts, answers[:, 1]] + noise
    answers = torch.where((log_odds > 0).unsqueeze(1), answers, answers.flip(1))
    strength, scores = log_odds.abs().sigmoid(), torch.tensor([[1.0, 0.0]]).expand(len(kept), 2)
    numbers = {}
    for label, spec in (("soft", {"osp": {"beta": 1.0}}), ("hard", {"dpo": {"beta": 1.0}})):
        for name, count in zip(("200", "800"), steps, strict=True):
            logits, _ = train(
                spec,
                lambda table: batch_of(table, prompts, answers, scores, confidence=strength),
                (20, 8),
                count,
                rate=0.1,
            )
            numbers[f"kl_{label}_{name}"] = divergence(logits, reward)
    return numbers


def divergence(logits: Tensor, reward: Tensor) -> float:
    """Mean KL divergence of the policy from the one proportional to exp(reward)."""
    log_probs = logits.log_softmax(dim=1)
    return float((log_probs.exp() * (log_probs - reward.log_softmax(dim=1))).sum(dim=1).mean())
