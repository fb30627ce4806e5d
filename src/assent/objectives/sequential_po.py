"""Sequential preference optimization: DPO on a new objective that keeps what the last round learned.

Source: Lou et al. 2024, arXiv 2405.12739; the loss is derived here from its constrained form.

    L = l(beta (h_w - h_l) - lambda (g_w - g_l)),    l(z) = -log sigmoid(z)

h = log policy - log reference, the reference being the last round's policy; g = the implicit reward that round
learned, beta times its own log-ratio, given as a score dimension. lambda = 0 is plain DPO after DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class SequentialPO:
    """DPO with the previous round's implicit reward as a margin.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        previous_weight: weight lambda of the previous round.
        dimension: name of the score dimension that holds the previous round's implicit reward.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, dimensions=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    previous_weight: float = 0.5
    dimension: str = "previous"

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(previous_weight=self.previous_weight)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        previous = batch.margin(batch.dimension(self.dimension))
        return -logsigmoid(self.beta * batch.margin() - self.previous_weight * previous)
