"""BCO for pairs: chosen and rejected answers told apart one by one, with a fixed shift.

Source: Jung et al. 2024, arXiv 2404.04656, theorem 3.

    L = l(r_w - d) + l(-(r_l - d)),    r = beta (log policy - log reference),    l(z) = -log sigmoid(z)

An upper bound of DPO's loss, whatever the shift d. Other tools run it with d = 0; the running shift of the paper
is objective `bco`, which takes labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class BCOPair:
    """Binary classifier optimization on pairs.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        shift: reward at which an answer counts as neither good nor bad.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.5)}
    beta: float = 0.1
    shift: float = 0.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_pairs()
        chosen, rejected = (self.beta * batch.log_ratio[:, :2] - self.shift).unbind(dim=1)
        return -logsigmoid(chosen) - logsigmoid(-rejected)
