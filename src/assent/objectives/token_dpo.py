"""Token-level DPO: DPO corrected by how far each answer leads the policy from the reference.

Source: Zeng et al. 2024, arXiv 2404.11999, eq. 16 to 19 (TDPO).

    v1   L = l(beta [h_w - h_l - (K_l - K_w)])
    v2   L = l(beta [h_w - h_l - alpha (K_l - stopgrad K_w)])

K = sum over an answer's positions of KL(reference || policy) over the whole vocabulary; h = log policy -
log reference in nats; l(z) = -log sigmoid(z). Equal K's give DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class TokenDPO:
    """Token-level direct preference optimization (TDPO).

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        version: 1, both divergences with gradient; 2, weighted and only the rejected one's with gradient.
        alpha: weight of the divergences in version 2.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, live_reference=True, statistics=("kl_reference",))
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    version: Literal[1, 2] = 2
    alpha: float = 0.5

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(alpha=self.alpha)
        if self.version not in (1, 2):
            raise ValueError(f"version must be 1 or 2, got {self.version}")

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        divergence = batch.policy.total(batch.policy.statistic("kl_reference"), batch.policy.completion_positions)
        chosen, rejected = divergence[:, :2].unbind(dim=1)
        correction = rejected - chosen if self.version == 1 else self.alpha * (rejected - chosen.detach())
        return -logsigmoid(self.beta * (batch.margin() - correction))
