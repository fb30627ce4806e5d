"""Ranking losses order whole lists; imitation of the best answer does not

40 prompts, 12 answers, lists of 4 with normal rewards, lengths 4 to 19, a tabular policy, Adam 0.1, 300 steps.

From a uniform policy the lower answers of a list begin exactly alike: imitation leaves them so, and the order that
KnowPAT gives them is rounding (see `knowpat`). RRHF's hinge has its kink there: its slope may be taken as 1, as here,
which parts the answers, or as 0, as its released code does, which leaves some tied for ever (`ordered_rrhf_flat`).
Started from logits of 0.1 N(0, 1), where nothing is tied, both slopes give the same, and nearly all lists are ordered
(`..._drawn`): RRHF's lower share belongs to ties, not to the method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assent.objectives import Judged
from assent.objectives.lists import differences, kept, ordered_pairs
from assent.objectives.rrhf import RRHF
from experiments._worlds import fitted
from experiments.knowpat import ANSWERS, KNOWPAT, PROMPTS, lists, order

EXPECTED = {
    "ordered_pro": "1.00",
    "pairs_sft": "0.50 (ties are wrong)",
    "ordered_rrhf_flat": "0.67 to 0.80",
    "gold_first_knowpat": ">= 0.99",
    "pairs_knowpat_drawn": "0.80 to 0.81",
    "ordered_knowpat_drawn": "0.15 to 0.18",
}
CLAIMS = {
    "PRO orders 95% of the lists": lambda n: n["ordered_pro"] >= 0.95,
    "imitation orders no more than half of the pairs": lambda n: n["pairs_sft"] <= 0.55,
    "KnowPAT puts the best answer first": lambda n: n["gold_first_knowpat"] >= 0.99,
    "RRHF orders 95% of the lists where nothing starts tied": lambda n: (
        min(n["ordered_rrhf_drawn"], n["ordered_rrhf_flat_drawn"]) >= 0.95
    ),
}
QUICK: dict[str, Any] = {"steps": 60}


@dataclass(frozen=True)
class FlatRRHF(RRHF):
    """RRHF with slope 0 where two answers are exactly as likely."""

    def __call__(self, batch: Judged) -> Tensor:
        score = batch.policy.mean
        misordered = kept(torch.relu(-differences(score)), ordered_pairs(batch)).sum(dim=(1, 2))
        return misordered - batch.policy.sum[:, 0]


SPECS: dict[str, Any] = {
    "pro": "pro_ranking",
    "sft": {"sft": {"normalise": "none"}},
    "rrhf": "rrhf",
    "rrhf_flat": {f"{__name__}:FlatRRHF": {}},
    "knowpat": KNOWPAT,
}


def run(seed: int, steps: int = 300) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    make = lists(generator)
    uniform = torch.zeros(PROMPTS, ANSWERS, dtype=torch.float64)
    drawn = 0.1 * torch.randn(PROMPTS, ANSWERS, generator=generator, dtype=torch.float64)
    numbers = {}
    for kind, start in (("", uniform), ("_drawn", drawn)):
        for name, spec in SPECS.items():
            logits = fitted(spec, make, {"logits": start}, steps, rate=0.1)["logits"]
            found = order(make(logits).policy.mean)
            numbers |= {f"{key}_{name}{kind}": value for key, value in found.items()}
    return numbers
