"""KnowPAT lifts the best answer out of its list and lowers all others; it does not order them

40 prompts, 12 answers, lists of 4 with normal scores, lengths 4 to 19, a tabular policy, align weight 0.1, Adam 0.1,
300 steps. The likeliest answer is judged by log-probability per token, as the method does.

From a uniform policy the three lower answers of a list stay exactly alike: the weight of each is its distance to the
least likely one, 0 for all three, and the imitation lowers them together. What orders them then is rounding, and how
ties are counted decides the number: strictly (`pairs_uniform`), or with a tie as right (`..._ties_right`), which is
how 0.80 and 0.15 come about. So the method is also started from logits of 0.1 N(0, 1), where nothing is tied
(`..._drawn`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assent.objectives import Judged
from experiments._tabular import batch_of
from experiments._worlds import fitted

EXPECTED = {
    "gold_first": ">= 0.99",
    "mean_1": "about 0",
    "mean_2": "-7.9",
    "mean_3": "-7.9",
    "mean_4": "-8.0",
    "pairs_ties_right": "0.80 to 0.81",
    "ordered_ties_right": "0.15 to 0.18",
    "pairs_drawn": "0.80 to 0.81",
    "ordered_drawn": "0.15 to 0.18",
    "ordered_pro": "1.00",
}
CLAIMS = {
    "the best answer is first in 99% of the lists": lambda n: min(n["gold_first"], n["gold_first_drawn"]) >= 0.99,
    "all others fall": lambda n: max(n["mean_2"], n["mean_3"], n["mean_4"]) < -5,
    "the rest stays unordered": lambda n: max(n["ordered_ties_right"], n["ordered_drawn"]) < 0.4,
    "PRO orders the same lists": lambda n: n["ordered_pro"] >= 0.95,
}
QUICK: dict[str, Any] = {"steps": 60}
KNOWPAT: dict[str, Any] = {"knowpat": {"align_weight": 0.1}}
PROMPTS, ANSWERS, LISTED = 40, 12, 4
ROUNDING = 1e-9
"""Differences of log-probabilities up to this are ties: 300 steps of float64 leave far less, and no more."""


def run(seed: int, steps: int = 300) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    make = lists(generator)
    uniform = torch.zeros(PROMPTS, ANSWERS, dtype=torch.float64)
    drawn = 0.1 * torch.randn(PROMPTS, ANSWERS, generator=generator, dtype=torch.float64)
    found = {
        name: make(fitted(spec, make, {"logits": start}, steps, rate=0.1)["logits"]).policy.mean
        for name, spec, start in (
            ("", KNOWPAT, uniform),
            ("_drawn", KNOWPAT, drawn),
            ("_pro", "pro_ranking", uniform),
        )
    }
    numbers = {f"mean_{at + 1}": float(found[""][:, at].mean()) for at in range(LISTED)}
    for name, likelihood in found.items():
        numbers |= {f"{key}{name or '_uniform'}": value for key, value in order(likelihood).items()}
    numbers["gold_first"] = numbers.pop("gold_first_uniform")
    ties_right = order(found[""], ties_right=True)
    return numbers | {f"{key}_ties_right": ties_right[key] for key in ("pairs", "ordered")}


def lists(generator: torch.Generator) -> Any:
    """From logits to judged lists: four of a prompt's twelve answers, best first, of drawn lengths."""
    lengths = torch.randint(4, 20, (PROMPTS, ANSWERS), generator=generator)
    answers = torch.stack([torch.randperm(ANSWERS, generator=generator)[:LISTED] for _ in range(PROMPTS)])
    scores = torch.randn(PROMPTS, LISTED, generator=generator).sort(dim=1, descending=True).values

    def make(logits: Tensor) -> Judged:
        return batch_of(logits, torch.arange(PROMPTS), answers, scores, lengths)

    return make


def order(likelihood: Tensor, ties_right: bool = False) -> dict[str, float]:
    """Share of pairs in the right order, of lists wholly so, and of lists whose best answer is the likeliest."""
    gaps = likelihood.unsqueeze(2) - likelihood.unsqueeze(1)
    above = torch.triu(torch.ones(LISTED, LISTED, dtype=torch.bool), diagonal=1)
    right = (gaps >= 0 if ties_right else gaps > ROUNDING).double()[:, above]
    return {
        "pairs": float(right.mean()),
        "ordered": float((right == 1).all(dim=1).double().mean()),
        "gold_first": float((likelihood.argmax(dim=1) == 0).double().mean()),
    }
