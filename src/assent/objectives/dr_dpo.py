"""Dr. DPO: a soft minimum over the step, which trusts pairs with a high loss less.

Source: Wu et al. 2024, arXiv 2407.07880, eq. 12.

    L = -b log mean over the step of exp(-l_i / b),    l_i = -log sigmoid(beta (h_w - h_l)),    b = `trust`

b -> infinity is DPO. The loss exists only over the step: a scalar; comparison weights enter the mean inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class DrDPO:
    """Distributionally robust DPO.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        trust: temperature b of the soft minimum (the paper's beta prime); smaller ignores more pairs.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, batch=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5), "trust": (0.1, 10.0)}
    beta: float = 0.1
    trust: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta, trust=self.trust)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of the step, a scalar."""
        weight = batch.weight.to(batch.policy.tokens.dtype)
        log_share = torch.where(weight > 0, weight, torch.ones_like(weight)).log() - weight.sum().log()
        terms = logsigmoid(self.beta * batch.margin()) / self.trust + log_share
        return -self.trust * terms[weight > 0].logsumexp(dim=0)
