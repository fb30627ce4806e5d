"""LD-DPO: DPO in which the tokens beyond the shorter answer's length count less.

Source: Liu et al. 2024, arXiv 2409.06411, eq. 12.

    L = l(beta (h_w - h_l)),    log p(y) -> sum of the first m tokens + alpha times the rest,    m = min(|y_w|, |y_l|)

l(z) = -log sigmoid(z), h = log policy - log reference. alpha = 1 is DPO. `apply_to_reference: false` attenuates the
policy alone, as some tools do: then a policy equal to its reference no longer starts at log 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive, share
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class LDDPO:
    """Length-desensitised DPO.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        alpha: weight of the tokens beyond the shorter answer's length, in [0, 1].
        apply_to_reference: whether the reference's tokens are weighted alike.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    alpha: float = 0.5
    apply_to_reference: bool = True

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        share(alpha=self.alpha)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        policy = batch.policy
        shorter = policy.length[:, :2].min(dim=1).values
        rest = policy.position >= shorter[policy.owner // policy.shape[1]]
        weight = torch.where(rest, self.alpha, 1.0)
        values = policy.total(weight * policy.tokens, policy.completion_positions)
        if batch.reference is not None:
            tokens = batch.reference.tokens * (weight if self.apply_to_reference else 1.0)
            values = values - policy.total(tokens, policy.completion_positions)
        return -logsigmoid(self.beta * batch.margin(values))
