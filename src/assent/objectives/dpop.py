"""DPO-Positive: DPO that may not win by making the chosen answer less likely.

Source: Pal et al. 2024, arXiv 2402.13228, eq. 3 (Smaug).

    L = l(beta (h_w - h_l - lambda max(0, -h_w))),    l(z) = -log sigmoid(z)

h = log policy - log reference in nats. Below its reference likelihood the chosen answer is pulled up 1 + lambda
times as hard as DPO would. lambda = 0 is DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class DPOP:
    """DPO with a penalty on a falling chosen likelihood.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        penalty: weight lambda of the nats that the chosen answer lost.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5), "penalty": (5.0, 50.0)}
    beta: float = 0.3
    penalty: float = 50.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(penalty=self.penalty)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        # relu, not clamp: at the start h_w is exactly 0, where clamp would hand on the full gradient of the penalty.
        lost = relu(-batch.log_ratio[:, 0])
        return -logsigmoid(self.beta * (batch.margin() - self.penalty * lost))
