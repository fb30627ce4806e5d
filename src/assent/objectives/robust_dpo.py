"""Robust DPO: the DPO loss made unbiased when a known share of the pairs is flipped.

Source: Chowdhury, Kini, Natarajan 2024, arXiv 2403.00409.

    L = [(1 - e) l(z) - e l(-z)] / (1 - 2e),    z = beta (h_w - h_l),    l(z) = -log sigmoid(z)

h = log policy - log reference in nats, e the flip rate: the mean of L over pairs flipped at rate e is the mean of
l over the clean ones. e = 0 is DPO. Not bounded below: for large z the loss falls with slope e / (1 - 2e) for
ever, so an e above the true rate rewards overfitting. Losses at different e are not comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import below_half, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class RobustDPO:
    """DPO corrected for flipped labels.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        flip_rate: share of the pairs whose label is wrong, in [0, 1/2); 0 gives DPO.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    flip_rate: float = 0.1

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        below_half(flip_rate=self.flip_rate)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        margin = self.beta * batch.margin()
        kept = -(1 - self.flip_rate) * logsigmoid(margin)
        return (kept + self.flip_rate * logsigmoid(-margin)) / (1 - 2 * self.flip_rate)
