"""Reward-aware preference optimization: the implicit margin is drawn to the judge's score gap.

Source: Adler et al. 2024, arXiv 2406.11704, section 3.3.2 (Nemotron-4).

With z = beta (h_w - h_l), g = eta (s_w - s_l), s the judge's scores, and sigma the sigmoid:

    bwd_kl   KL(sigma(g) || sigma(z))      fwd_kl   KL(sigma(z) || sigma(g))      sq   (z - g)^2

A pair stops pulling once its margin equals its gap, so nearly equal answers are not torn apart. bwd_kl tends to
DPO as the gaps grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class RewardAwareRPO:
    """Margins that match reward gaps.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        eta: nats of log-odds that one point of score is worth.
        distance: how far margin and gap are apart: bwd_kl, fwd_kl or sq.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.5)}
    beta: float = 0.1
    eta: float = 1.0
    distance: Literal["bwd_kl", "fwd_kl", "sq"] = "bwd_kl"

    def __post_init__(self) -> None:
        positive(beta=self.beta, eta=self.eta)
        one_of(("bwd_kl", "fwd_kl", "sq"), distance=self.distance)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        margin, gap = self.beta * batch.margin(), self.eta * batch.margin(batch.scores)
        if self.distance == "sq":
            return (margin - gap).square()
        return bernoulli_kl(gap, margin) if self.distance == "bwd_kl" else bernoulli_kl(margin, gap)


def bernoulli_kl(first: Tensor, second: Tensor) -> Tensor:
    """KL divergence of two coins given by the log-odds of heads, any shape, in nats."""
    heads = first.sigmoid() * (logsigmoid(first) - logsigmoid(second))
    return heads + (-first).sigmoid() * (logsigmoid(-first) - logsigmoid(-second))
