"""Twenty-five direct losses on one noise-free world: who orders the pairs, and what becomes of the chosen answer

20 prompts with 8 answers each, lengths 4 to 19, a uniform tabular policy as start and reference, 5 pairs per prompt
ordered by a normal reward; every loss at its defaults, full batch, Adam 0.05, 300 steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments._tabular import batch_of, train

PER_TOKEN = ("ipo", "ln_dpo", "simpo", "alphapo", "orpo", "simper")
FREE = ("cpo", "slic_hf", "simpo", "alphapo", "orpo", "simper")
LOSSES = (
    *("dpo", "cdpo", "robust_dpo", "hinge", "ipo", "ipo_sum", "exo_pair", "nca_pair", "sppo_hard", "bco_pair"),
    *(
        "kto_pair",
        "apo_zero",
        "apo_down",
        "aot",
        "discopop",
        "ln_dpo",
        "length_dpo",
        "cal_dpo",
        "dpop",
        "dpo_plus_nll",
    ),
    *("simpo", "orpo", "cpo", "slic_hf", "alphapo", "simper"),
)
RISING = ("hinge", "ipo_sum", "nca_pair", "bco_pair", "kto_pair", "cal_dpo", "dpop", "dpo_plus_nll", "ln_dpo")
FALLING = ("robust_dpo", "apo_down", "alphapo", "simper")
EXPECTED = {
    "accuracy_worst": ">= 0.88 of all but discopop and simper",
    "accuracy_discopop": "0.00 to 0.03",
    "accuracy_simper": "0.83 to 0.86",
    "chosen_cdpo": "> 0",
    "rising_least": "> 0 (hinge, ipo_sum, nca, bco, kto_pair, cal_dpo, dpop, dpo+nll, ln_dpo, simpo, orpo, cpo)",
    "falling_most": "< 0 (robust, apo_down, alphapo, simper)",
}
CLAIMS = {
    "every loss but DiscoPOP and SimPER orders 88% of the pairs": lambda n: n["accuracy_worst"] >= 0.88,
    "DiscoPOP reverses clean pairs": lambda n: n["accuracy_discopop"] <= 0.1,
    "SimPER orders 80%": lambda n: n["accuracy_simper"] >= 0.8,
    "losses that hold the chosen answer up raise it": lambda n: n["rising_least"] > 0,
    "losses that only look at the margin, hard, lower it": lambda n: n["falling_most"] < 0,
}
QUICK: dict[str, Any] = {"steps": 60, "losses": ("dpo", "cdpo", "robust_dpo", "discopop", "simper", "simpo")}


def run(seed: int, steps: int = 300, losses: tuple[str, ...] = LOSSES) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    reward = torch.randn(20, 8, generator=generator)
    lengths = torch.randint(4, 20, (20, 8), generator=generator)
    prompts, answers = drawn_pairs(reward, generator)
    scores = torch.tensor([[1.0, 0.0]]).expand(len(prompts), 2)
    numbers: dict[str, float] = {}
    changes: dict[str, float] = {}
    for name in losses:
        logits, _ = train(
            name, lambda table: batch_of(table, prompts, answers, scores, lengths), (20, 8), steps, rate=0.05
        )
        batch = batch_of(logits, prompts, answers, scores, lengths)
        values = batch.policy if name in FREE else None
        if name in PER_TOKEN:
            margin = batch.margin(batch.mean_log_ratio if values is None else values.mean)
        else:
            margin = batch.margin(batch.log_ratio if values is None else values.sum)
        numbers[f"accuracy_{name}"] = float((margin > 0).double().mean())
        changes[name] = float(batch.log_ratio[:, 0].mean())
        numbers[f"chosen_{name}"] = changes[name]
    judged = [name for name in losses if name not in ("discopop", "simper")]
    return {
        "accuracy_worst": min(numbers[f"accuracy_{name}"] for name in judged),
        "rising_least": min(changes[name] for name in (*RISING, "simpo", "orpo", "cpo") if name in changes),
        "falling_most": max(changes[name] for name in FALLING if name in changes),
        **numbers,
    }


def drawn_pairs(reward: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Five pairs of different answers per prompt, the better one first: prompts [N] and answers [N, 2]."""
    prompts, answers = [], []
    for prompt in range(len(reward)):
        for _ in range(5):
            first, second = torch.randperm(reward.shape[1], generator=generator)[:2].tolist()
            better = reward[prompt, first] > reward[prompt, second]
            prompts.append(prompt)
            answers.append([first, second] if better else [second, first])
    return torch.tensor(prompts), torch.tensor(answers)
