"""Preferences across instructions: the joint likelihood finds the answers' policy, masked prompts do not

6 instructions with 6 answers each, utility = level of the instruction (2 N(0, 1)) + quality of the answer within it
(1.5 N(0, 1)); 40000 random pairs with different instructions, ordered by Bradley-Terry; tabular policy over
instructions and answers, uniform reference, beta 1, Adam 0.05, 600 steps. Target: answers ~ exp(quality).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assent.likelihood import Likelihoods
from experiments._worlds import fitted, judged

EXPECTED = {
    "kl_joint": "0.0014 to 0.0034",
    "kl_masked": "0.23 to 0.47",
    "instructions_off": "< 0.05",
}
CLAIMS = {
    "the joint loss finds the answers": lambda n: n["kl_joint"] < 0.02,
    "masked prompts are ten times as far": lambda n: n["kl_masked"] > 10 * n["kl_joint"],
    "instructions are as likely as their utility says": lambda n: n["instructions_off"] < 0.05,
}
QUICK: dict[str, Any] = {"steps": 20, "count": 2000}


def run(seed: int, steps: int = 600, count: int = 40000) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    level = 2 * torch.randn(6, 1, generator=generator, dtype=torch.float64)
    quality = 1.5 * torch.randn(6, 6, generator=generator, dtype=torch.float64)
    utility = (level + quality).flatten()
    pairs = torch.randint(0, 36, (count, 2), generator=generator)
    pairs = pairs[pairs[:, 0] // 6 != pairs[:, 1] // 6]
    gaps = utility[pairs[:, 0]] - utility[pairs[:, 1]]
    wins = torch.rand(len(pairs), generator=generator, dtype=torch.float64) < gaps.sigmoid()
    unique, weight = torch.where(wins.unsqueeze(1), pairs, pairs.flip(1)).unique(dim=0, return_counts=True)
    start = {"prompts": torch.zeros(6, dtype=torch.float64), "answers": torch.zeros(6, 6, dtype=torch.float64)}

    def make(prompts: Tensor, answers: Tensor) -> Any:
        return judged(tokens(prompts, answers, unique), tokens(start["prompts"], start["answers"], unique))

    numbers = {}
    for name, spec in (("joint", {"dove": {"beta": 1.0}}), ("masked", {"dpo": {"beta": 1.0}})):
        found = fitted(spec, make, start, steps, rate=0.05, weight=weight.double())
        target, policy = quality.log_softmax(dim=1), found["answers"].log_softmax(dim=1)
        numbers[f"kl_{name}"] = float((target.exp() * (target - policy)).sum(dim=1).mean())
        if name == "joint":
            wanted = utility.view(6, 6).logsumexp(dim=1).softmax(dim=0)
            numbers["instructions_off"] = float((wanted - found["prompts"].softmax(dim=0)).abs().sum() / 2)
    return numbers


def tokens(prompts: Tensor, answers: Tensor, pairs: Tensor) -> Likelihoods:
    """Likelihoods of pairs of (instruction, answer): one prompt token and one completion token each."""
    instruction = pairs // 6
    values = torch.stack(
        [prompts.log_softmax(dim=0)[instruction], answers.log_softmax(dim=1)[instruction, pairs % 6]], dim=2
    )
    owner = torch.arange(pairs.numel()).repeat_interleave(2)
    mask = torch.ones(pairs.shape, dtype=torch.bool)
    segment = torch.tensor([1, 0]).repeat(pairs.numel())
    return Likelihoods(values.flatten(), owner, (len(pairs), 2), mask, segment)
