"""Attenuated DPO: DPO with a knob on how much the reference counts.

Source: Chen et al. 2024, arXiv 2405.19534, appendix C.

    L = l(beta (m_policy - gamma m_reference)),    m = log p_w - log p_l,    l(z) = -log sigmoid(z)

gamma = 1 is DPO, gamma = 0 forgets the reference. With gamma < 1 a pair that the reference ranks wrongly needs
less training to be ranked rightly, at the price of a weaker anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class AttenuatedDPO:
    """DPO with an attenuated reference.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        gamma: how much the reference's margin counts; 1 is DPO.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 1.0), "gamma": (0.0, 2.0)}
    beta: float = 0.1
    gamma: float = 0.5

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(gamma=self.gamma)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        margin = batch.margin(batch.policy.sum)
        if batch.reference is not None:
            margin = margin - self.gamma * batch.margin(batch.reference.sum)
        return -logsigmoid(self.beta * margin)
