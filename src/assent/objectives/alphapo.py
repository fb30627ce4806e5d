"""AlphaPO: SimPO with a reward that bends, so that likelihood displacement can be steered.

Source: Gupta et al. 2025, arXiv 2501.03884, eq. 6.

    L = l(beta (r_w - r_l) - gamma),    r = (1 - e^(-alpha m)) / alpha,    m = log p / |y|,    l(z) = -log sigmoid(z)

alpha -> 0 is SimPO (r = m), which alpha = 0 means here. With positive alpha rewards of unlikely answers fall
steeply, so they are pushed down less for each nat; the exponent is capped, since e^(-alpha m) overflows for
answers at hundreds of nats per token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs

# e^30 = 1e13; a mean this low only occurs in a diverged run.
EXPONENT_LIMIT = 30.0


@dataclass(frozen=True)
class AlphaPO:
    """SimPO with an alpha-shaped reward.

    Args:
        beta: scale of the reward.
        gamma: margin that the chosen answer's reward must exceed the rejected one's by; not scaled by beta.
        alpha: bend of the reward; 0 is SimPO.
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (2.0, 10.0)}
    beta: float = 2.5
    gamma: float = 0.25
    alpha: float = 0.25

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(gamma=self.gamma)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        reward = batch.policy.mean
        if self.alpha != 0:
            reward = -(-self.alpha * reward).clamp(max=EXPONENT_LIMIT).expm1() / self.alpha
        return -logsigmoid(self.beta * batch.margin(reward) - self.gamma)
