"""KnowPAT lifts the best answer out of its list and lowers all others; it does not order them

40 prompts, 12 answers, lists of 4 with normal scores, lengths 4 to 19, a tabular policy, align weight 0.1, Adam 0.1,
300 steps. The likeliest answer is judged by log-probability per token, as the method does.
"""

from __future__ import annotations

from typing import Any

import torch

from experiments._tabular import batch_of, train

EXPECTED = {
    "gold_first": ">= 0.99",
    "mean_1": "about 0",
    "mean_2": "-7.9",
    "mean_3": "-7.9",
    "mean_4": "-8.0",
    "pairs": "0.80 to 0.81",
    "ordered": "0.15 to 0.18",
    "ordered_pro": "1.00",
}
CLAIMS = {
    "the best answer is first in 99% of the lists": lambda n: n["gold_first"] >= 0.99,
    "all others fall": lambda n: max(n["mean_2"], n["mean_3"], n["mean_4"]) < -5,
    "the rest stays unordered": lambda n: n["ordered"] < 0.4,
    "PRO orders the same lists": lambda n: n["ordered_pro"] >= 0.95,
}
QUICK: dict[str, Any] = {"steps": 60}


def run(seed: int, steps: int = 300) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 20, (40, 12), generator=generator)
    answers = torch.stack([torch.randperm(12, generator=generator)[:4] for _ in range(40)])
    scores = torch.randn(40, 4, generator=generator).sort(dim=1, descending=True).values
    prompts = torch.arange(40)
    numbers: dict[str, float] = {}
    for name, spec in (("", {"knowpat": {"align_weight": 0.1}}), ("_pro", "pro_ranking")):
        logits, _ = train(
            spec, lambda table: batch_of(table, prompts, answers, scores, lengths), (40, 12), steps, rate=0.1
        )
        found = batch_of(logits, prompts, answers, scores, lengths).policy.mean
        above = torch.triu(torch.ones(4, 4, dtype=torch.bool), diagonal=1)
        right = (found.unsqueeze(2) - found.unsqueeze(1) > 1e-9).double()[:, above]
        numbers[f"ordered{name}"] = float((right == 1).all(dim=1).double().mean())
        numbers[f"pairs{name}"] = float(right.mean())
        if not name:
            numbers["gold_first"] = float((found.argmax(dim=1) == 0).double().mean())
            numbers |= {f"mean_{at + 1}": float(found[:, at].mean()) for at in range(4)}
    return numbers
