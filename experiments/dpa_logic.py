"""What seven formulas do to the probabilities of the chosen and the rejected answer, when they are trained on

Two free logits, of p(w) and of p(l), and nothing else; each loss is compiled from its formula (Richardson et al.
2025) with the log link and beta 1, then 600 steps of gradient descent at rate 1. The final probabilities are those
from p(w) = p(l) = 1/2 and are the same for every seed. The seed draws the logits of 400 more starts from N(0, 1): at
their ends all sixteen members of the lattice are compared, in all pairs where one entails the other, and counted is
how often l ends nearer to 0 than w to 1. Since w and l share no parameter, no loss can pull the chosen answer down
here: what is left of likelihood displacement is that the rejected answer moves first and furthest.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives import Objective, build_objective
from assent.objectives.logic.structure import Structure, lattice
from experiments._worlds import judged

LOSSES = {
    "CE": Structure("w"),
    "UNL": Structure("Not(l)"),
    "CEUnl": Structure("And(w, Not(l))"),
    "ORPO": Structure("Implies(l, w)", "Xor(w, l)"),
    "unCPO": Structure("Implies(l, w)"),
    "CPO": Structure("Implies(l, w)", "Or(w, l)", "And(w, l)"),
    "cCPO": Structure("Implies(l, w)", "Or(w, l)"),
}
ENDS = {
    "CE": (0.998, 0.5),
    "UNL": (0.5, 0.002),
    "CEUnl": (0.998, 0.002),
    "ORPO": (0.972, 0.028),
    "unCPO": (0.969, 0.031),
    "CPO": (0.873, 0.001),
    "cCPO": (0.981, 0.048),
}
"""Final p(w) and p(l), to three digits."""

EXPECTED = {
    **{f"{name}_{side}": f"{end:.3f}" for name, ends in ENDS.items() for side, end in zip("wl", ends, strict=True)},
    "largest_loss": "< 0.004",
    "entailments": "65",
    "order_broken": "0",
    "CPO_rejected_first": "near 1",
    "ORPO_rejected_first": "near 0.5 (the sum of the two logits never moves)",
}
CLAIMS = {
    **{
        f"{name} ends where it should, to three digits": lambda n, name=name, ends=ends: (
            max(abs(n[f"{name}_{side}"] - end) for side, end in zip("wl", ends, strict=True)) <= 0.0005
        )
        for name, ends in ENDS.items()
    },
    "CE leaves the rejected answer exactly alone, UNL the chosen one": lambda n: n["CE_l"] == 0.5 == n["UNL_w"],
    "ORPO and unCPO treat the two alike": lambda n: (
        max(abs(n[f"{name}_w"] + n[f"{name}_l"] - 1) for name in ("ORPO", "unCPO")) < 1e-9
    ),
    "every loss ends below 0.004": lambda n: n["largest_loss"] < 0.004,
    "a stricter formula never has the smaller loss": lambda n: n["entailments"] == 65 and n["order_broken"] == 0,
    "CPO moves the rejected answer further, from nearly every start": lambda n: n["CPO_rejected_first"] > 0.95,
    "ORPO favours neither": lambda n: abs(n["ORPO_rejected_first"] - 0.5) < 0.1,
}
QUICK: dict[str, Any] = {"steps": 20, "starts": 10}


def run(seed: int, steps: int = 600, starts: int = 400) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(starts, 2, generator=generator, dtype=torch.float64)
    logits = torch.cat([torch.zeros(1, 2, dtype=torch.float64), drawn])
    ends = {name: trained(structure, logits, steps) for name, structure in LOSSES.items()}
    numbers = {}
    for name, end in ends.items():
        numbers[f"{name}_w"], numbers[f"{name}_l"] = end[0].sigmoid().tolist()
    last = {name: loss_of(compiled(LOSSES[name]), end) for name, end in ends.items()}
    for name, end in ends.items():
        # p(l) < 1 - p(w), told by the logits.
        numbers[f"{name}_rejected_first"] = float((end[1:].sum(dim=1) < 0).double().mean())
    return {
        **numbers,
        "largest_loss": max(float(losses[0]) for losses in last.values()),
        "largest_loss_random_starts": max(float(losses.max()) for losses in last.values()),
        **order(torch.cat(list(ends.values()))),
    }


def compiled(structure: Structure) -> Objective:
    """The structure as an objective."""
    spec = {"expression": structure.core, "condition": structure.condition, "additive": structure.additive}
    return build_objective({"formula": spec})


def loss_of(objective: Objective, logits: Tensor) -> Tensor:
    """[B] the loss at the logits [B, 2] of w and l."""
    log_probs = logsigmoid(logits)
    return objective(judged(log_probs, torch.zeros_like(log_probs)))


def trained(structure: Structure, start: Tensor, steps: int) -> Tensor:
    """The logits [B, 2] after gradient descent at rate 1, every start for itself."""
    objective, logits = compiled(structure), start.clone().requires_grad_()
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(objective, logits).sum().backward()
        optimizer.step()
    return logits.detach()


def order(logits: Tensor) -> dict[str, float]:
    """How many strict entailments the lattice has, and how often a stricter loss is the smaller one at the logits."""
    members = list(lattice().values())
    losses = [loss_of(compiled(member), logits) for member in members]
    pairs = [
        (strict, loose)
        for strict, first in enumerate(members)
        for loose, second in enumerate(members)
        if first.entails(second) and not second.entails(first)
    ]
    broken = sum(int((losses[strict] < losses[loose] - 1e-12).sum()) for strict, loose in pairs)
    return {"entailments": len(pairs), "order_broken": broken}
