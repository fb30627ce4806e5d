"""DPO plus the chosen answer's negative log-likelihood per token.

Source: Pang et al. 2024, arXiv 2404.19733, eq. 1 (Iterative RPO); Liu et al. 2024, arXiv 2405.16436 (RPO).

    L = l(beta (h_w - h_l)) - alpha log p_w / |y_w|,    l(z) = -log sigmoid(z)

h = log policy - log reference in nats. The two papers take alpha = 1 and 0.005. The same as the sum
[{dpo: {beta: ...}}, {sft: {weight: alpha}}], which keeps the two terms apart in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import CHOSEN, REFERENCED, Part


@dataclass(frozen=True)
class DPOPlusNLL:
    """DPO with imitation of the chosen answer.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        nll_weight: weight alpha of the negative log-likelihood per token.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5), "nll_weight": (0.005, 1.0)}
    beta: float = 0.1
    nll_weight: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(nll_weight=self.nll_weight)

    @property
    def logic(self) -> tuple[Part, ...]:
        """Its preference structure."""
        return Part(REFERENCED, scale=self.beta), Part(CHOSEN, weight=self.nll_weight, per_token=True)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        return -logsigmoid(self.beta * batch.margin()) - self.nll_weight * batch.policy.mean[:, 0]
