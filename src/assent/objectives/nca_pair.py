"""NCA for pairs: noise contrastive estimation of each answer, which holds the chosen likelihood up.

Source: Chen et al. 2024, arXiv 2402.05369, eq. 14.

    L = l(r_w) + l(-r_w) / 2 + l(-r_l) / 2,    r = beta (log policy - log reference),    l(z) = -log sigmoid(z)

r_w is drawn to log 2 and no further, r_l to minus infinity. Absolute rewards count, not only the margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class NCAPair:
    """Noise contrastive alignment on pairs.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.1)}
    beta: float = 0.01

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_pairs()
        chosen, rejected = (self.beta * batch.log_ratio[:, :2]).unbind(dim=1)
        return -logsigmoid(chosen) - (logsigmoid(-chosen) + logsigmoid(-rejected)) / 2
