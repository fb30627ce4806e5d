"""Weighted model counting on log-probabilities: formulas compiled to differentiable scores.

Letters: B comparisons, V variables, S satisfying assignments.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from assent.objectives.logic.formula import assignments
from assent.objectives.logic.structure import Structure
from assent.objectives.orpo import LARGEST_MEAN, log1mexp

Compiled = tuple[tuple[str, ...], tuple[tuple[bool, ...], ...]]
"""Variables that matter, and the assignments to them that satisfy."""


@lru_cache(maxsize=256)
def compiled(structure: Structure) -> tuple[Compiled, Compiled]:
    """Top and bottom, each reduced to the variables it depends on: the count is the same, and smaller."""
    structure.check()
    top, bottom = structure.tables()
    return reduced(structure.variables, top), reduced(structure.variables, bottom)


def reduced(variables: tuple[str, ...], table: tuple[bool, ...]) -> Compiled:
    """A truth table without the variables that it does not depend on."""
    rows = {tuple(row.values()): holds for row, holds in zip(assignments(variables), table, strict=True)}
    matter = [
        index
        for index in range(len(variables))
        if any(holds != rows[(*row[:index], not row[index], *row[index + 1 :])] for row, holds in rows.items())
    ]
    kept = sorted({tuple(row[index] for index in matter) for row, holds in rows.items() if holds}, reverse=True)
    return tuple(variables[index] for index in matter), tuple(kept)


def log_count(formula: Compiled, log_probs: Mapping[str, Tensor]) -> Tensor:
    """[B] log weighted model count, from [B] log-probabilities of the variables."""
    variables, satisfying = formula
    if not variables:
        # A tautology counts everything, a contradiction nothing.
        return torch.full_like(next(iter(log_probs.values())), 0.0 if satisfying else -torch.inf)
    yes = torch.stack([log_probs[name].clamp(max=LARGEST_MEAN) for name in variables], dim=1)
    no = log1mexp(yes)
    chosen = torch.tensor(satisfying, device=yes.device)
    terms = torch.where(chosen.unsqueeze(0), yes.unsqueeze(1), no.unsqueeze(1)).sum(dim=2)
    return terms.logsumexp(dim=1)


def rho(structure: Structure, log_probs: Mapping[str, Tensor]) -> Tensor:
    """[B] log count of top minus log count of bottom, the score that a link turns into a loss."""
    top, bottom = compiled(structure)
    return log_count(top, log_probs) - log_count(bottom, log_probs)
