"""ODPO: DPO in which a clearly better answer must win by more.

Source: Amini, Vieira, Cotterell 2024, arXiv 2402.10571, eq. 8.

    L = l(beta (h_w - h_l) - alpha log(s_w - s_l)),    l(z) = -log sigmoid(z)

h = log policy - log reference in nats, s the judge's scores. A gap below 1 gives a negative offset; a gap of 1 is
DPO. Ties have no offset and are not pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class ODPO:
    """DPO with an offset that grows with the score gap.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        alpha: weight of the offset.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.7)}
    beta: float = 0.1
    alpha: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(alpha=self.alpha)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        return -logsigmoid(self.beta * batch.margin() - self.alpha * batch.margin(batch.scores).log())
