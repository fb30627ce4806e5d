"""Length normalisation stops the growth of answers, and can turn it round

A chain over the tokens G, B and end; the reference ends with probability 0.1 at every token (mean length 9, half of
it G). 400 pairs: chosen answers have 6 to 14 tokens with 60% G, rejected ones 2 to 8 with 40%. Adam 0.02, 300
full-batch steps; expected length and share of G of the trained chain are exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assent.likelihood import Likelihoods
from experiments._worlds import fitted, judged

SPECS: dict[str, Any] = {
    "dpo_0.05": {"dpo": {"beta": 0.05}},
    "dpo_0.1": {"dpo": {"beta": 0.1}},
    "dpo_0.3": {"dpo": {"beta": 0.3}},
    "ln_dpo_1": {"ln_dpo": {"beta": 1.0}},
    "ln_dpo_2": {"ln_dpo": {"beta": 2.0}},
    "ln_dpo_3.5": {"ln_dpo": {"beta": 3.5}},
}
EXPECTED = {
    "length_dpo_0.1": "52 to 74",
    "good_dpo_0.1": "0.70 to 0.74",
    "length_ln_dpo_1": "7 to 33",
    "length_ln_dpo_2": "1.8 to 5.2",
    "good_ln_dpo_2": "0.84 to 0.88",
    "length_ln_dpo_3.5": "1.4 to 3.2",
}
CLAIMS = {
    "DPO's answers become three times as long": lambda n: (
        min(n[f"length_dpo_{beta}"] for beta in ("0.05", "0.1", "0.3")) > 27
    ),
    "LN-DPO's become shorter than the reference's": lambda n: n["length_ln_dpo_2"] < 9,
    "and better": lambda n: n["good_ln_dpo_2"] > n["good_dpo_0.1"] + 0.08,
}
QUICK: dict[str, Any] = {"steps": 10, "count": 40}
REFERENCE = torch.tensor([0.45, 0.45, 0.10], dtype=torch.float64).log().expand(3, 3)
"""Rows: after the start, after G, after B; columns: G, B, end."""


def run(seed: int, steps: int = 300, count: int = 400) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    counts, lengths = [], []
    for _ in range(count):
        for low, high, share in ((6, 14, 0.6), (2, 8, 0.4)):
            length = int(torch.randint(low, high + 1, (), generator=generator))
            tokens = (torch.rand(length, generator=generator) >= share).long().tolist()
            counts.append(transitions([*tokens, 2]))
            lengths.append(length + 1)
    table = torch.stack(counts).view(count, 2, 9)
    width = torch.tensor(lengths).view(count, 2)
    reference = Likelihoods.from_sums(table @ REFERENCE.flatten(), width)

    def make(logits: Tensor) -> Any:
        return judged(Likelihoods.from_sums(table @ logits.log_softmax(dim=1).flatten(), width), reference)

    numbers = {}
    for name, spec in SPECS.items():
        logits = fitted(spec, make, {"logits": REFERENCE}, steps, rate=0.02)["logits"]
        numbers[f"length_{name}"], numbers[f"good_{name}"] = expected(logits)
    return numbers


def transitions(tokens: list[int]) -> Tensor:
    """[9] how often each of the chain's nine steps is taken."""
    counts = torch.zeros(3, 3, dtype=torch.float64)
    state = 0
    for token in tokens:
        counts[state, token] += 1
        state = token + 1
    return counts.flatten()


def expected(logits: Tensor) -> tuple[float, float]:
    """Expected number of tokens before the end, and the share of G among them."""
    chance = logits.softmax(dim=1)
    inner = chance[1:, :2]
    visits = torch.linalg.solve((torch.eye(2, dtype=torch.float64) - inner).T, chance[0, :2])
    return float(visits.sum()), float(visits[0] / visits.sum())
