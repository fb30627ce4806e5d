"""A weighted sum of objectives, which keeps their terms apart so that they can be logged and combined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import isfinite

import torch
from torch import Tensor, nn

from assent.objectives.judged import Judged, Needs
from assent.objectives.registry import Objective


@dataclass(frozen=True)
class Ramp:
    """A weight that changes over the run, in a straight line.

    Args:
        start: its value at the beginning (`from` in YAML).
        end: its value at the end of the ramp (`to`).
        until: share of the run after which it stays there.
    """

    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        if not 0 < self.until <= 1:
            raise ValueError(f"until must be in (0, 1], got {self.until}")

    def at(self, progress: float) -> float:
        """The weight after the given share of the run."""
        done = min(progress / self.until, 1.0)
        return (1 - done) * self.start + done * self.end


@dataclass(eq=False)
class WeightedSum(nn.Module):
    """Returns [B, M], one weighted column for each term of each objective.

    A term that exists only over the step (a scalar) becomes a column of B equal values, whose mean it is; it
    takes comparison weights inside, if it takes them at all.

    Args:
        objectives: what is summed.
        weights: one for each: a number, or a ramp over the run.
    """

    objectives: tuple[Objective, ...]
    weights: tuple[float | Ramp, ...]

    def __post_init__(self) -> None:
        super().__init__()
        for index, objective in enumerate(self.objectives):
            if isinstance(objective, nn.Module):
                self.add_module(f"objective_{index}", objective)

    @property
    def needs(self) -> Needs:
        """What all of them need together."""
        return reduce(Needs.__or__, (objective.needs for objective in self.objectives))

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the M columns: the objective's, or `objective.term` where it has several."""
        names: list[str] = []
        for objective in self.objectives:
            slug = type(objective).__module__.rsplit(".", 1)[-1]
            own = getattr(objective, "terms", None)
            for name in [slug] if own is None else [f"{slug}.{term}" for term in own]:
                # The same method twice, with other options, is two terms.
                count = sum(known == name or known.startswith(f"{name}#") for known in names)
                names.append(name if count == 0 else f"{name}#{count + 1}")
        return tuple(names)

    def forward(self, batch: Judged) -> Tensor:
        """Returns the weighted terms of each comparison, [B, M]."""
        columns = []
        for objective, weight in zip(self.objectives, self.weights, strict=True):
            now = weight.at(batch.progress) if isinstance(weight, Ramp) else weight
            loss = now * objective(batch)
            if loss.dim() == 0:
                loss = loss.expand(batch.mask.shape[0])
            columns.append(loss if loss.dim() == 2 else loss.unsqueeze(1))
        return torch.cat(columns, dim=1)
