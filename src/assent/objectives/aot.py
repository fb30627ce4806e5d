"""AOT: the distribution of good margins should dominate that of bad ones, quantile by quantile.

Source: Melnyk et al. 2024, arXiv 2406.05882, eq. 8 (paired) and 7 (unpaired).

    paired     z = beta (sort(log p_w - log p_l) - sort(log q_w - log q_l)),    p policy, q reference
    unpaired   z = beta (sort(h_w) - sort(h_l)),    h = log p - log q
    L = mean over the step of (1 - e) l(z) + e l(-z),    l(z) = -log sigmoid(z)

Sorting couples the whole step, so the loss exists only over it: a scalar, and comparison weights have no meaning.
A step of one comparison is DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.errors import InputError
from assent.objectives.checks import below_half, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class AOT:
    """Alignment via optimal transport: stochastic dominance over the step.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        paired: sorts margins of policy and reference (true), or log-ratios of the two sides (false).
        label_smoothing: share of the sorted differences taken to be of the wrong sign, in [0, 1/2).
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, batch=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.1)}
    beta: float = 0.01
    paired: bool = True
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        below_half(label_smoothing=self.label_smoothing)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of the step, a scalar."""
        if bool((batch.weight != 1).any()):
            raise InputError("AOT compares sorted lists, so comparisons cannot be weighted", field="weight")
        if self.paired:
            reference = torch.zeros_like(batch.policy.sum) if batch.reference is None else batch.reference.sum
            upper, lower = batch.margin(batch.policy.sum), batch.margin(reference)
        else:
            batch.require_pairs()
            upper, lower = batch.log_ratio[:, :2].unbind(dim=1)
        z = self.beta * (upper.sort().values - lower.sort().values)
        return (-(1 - self.label_smoothing) * logsigmoid(z) - self.label_smoothing * logsigmoid(-z)).mean()
