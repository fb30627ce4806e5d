"""Ranking losses order whole lists; imitation of the best answer does not

40 prompts, 12 answers, lists of 4 with normal rewards, lengths 4 to 19, a tabular policy, Adam 0.1, 300 steps.
"""

from __future__ import annotations

from typing import Any

import torch

from experiments._tabular import batch_of, train

EXPECTED = {
    "ordered_pro": "1.00",
    "pairs_sft": "0.50 (ties are wrong)",
    "pairs_knowpat": "0.80 to 0.81",
    "ordered_rrhf": "0.67 to 0.80",
    "gold_first_knowpat": ">= 0.99",
    "ordered_knowpat": "0.15 to 0.18",
}
CLAIMS = {
    "PRO orders 95% of the lists": lambda n: n["ordered_pro"] >= 0.95,
    "imitation orders no more than half of the pairs": lambda n: n["pairs_sft"] <= 0.55,
    "KnowPAT puts the best answer first": lambda n: n["gold_first_knowpat"] >= 0.99,
}
QUICK: dict[str, Any] = {"steps": 60}
SPECS: dict[str, Any] = {
    "pro": "pro_ranking",
    "sft": {"sft": {"normalise": "none"}},
    "rrhf": "rrhf",
    "knowpat": {"knowpat": {"align_weight": 0.1}},
}


def run(seed: int, steps: int = 300) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 20, (40, 12), generator=generator)
    answers = torch.stack([torch.randperm(12, generator=generator)[:4] for _ in range(40)])
    scores = torch.randn(40, 4, generator=generator).sort(dim=1, descending=True).values
    prompts = torch.arange(40)
    numbers = {}
    for name, spec in SPECS.items():
        logits, _ = train(
            spec, lambda table: batch_of(table, prompts, answers, scores, lengths), (40, 12), steps, rate=0.1
        )
        found = batch_of(logits, prompts, answers, scores, lengths).policy.mean
        gaps = found.unsqueeze(2) - found.unsqueeze(1)
        above = torch.triu(torch.ones(4, 4, dtype=torch.bool), diagonal=1)
        right = (gaps > 1e-9).double()[:, above]  # equal up to rounding is no order
        numbers[f"pairs_{name}"] = float(right.mean())
        numbers[f"ordered_{name}"] = float((right == 1).all(dim=1).double().mean())
        numbers[f"gold_first_{name}"] = float((found.argmax(dim=1) == 0).double().mean())
    return numbers
