"""Cal-DPO: the margin decides, and the log-ratios are calibrated to true rewards of plus and minus 1/2.

Source: Xiao et al. 2024, arXiv 2412.14516, eq. 9.

    L = l(h_w - h_l) + c [(h_w - 1 / (2 beta))^2 + (h_l + 1 / (2 beta))^2],    l(z) = -log sigmoid(z)

h = log policy - log reference in nats; beta is absent from the first term. The authors' code halves the squares:
that is c = 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class CalDPO:
    """Calibrated DPO.

    Args:
        beta: inverse temperature; the log-ratios are drawn to plus and minus 1 / (2 beta).
        calibration_weight: weight c of the two squares.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (1e-3, 0.5)}
    beta: float = 0.1
    calibration_weight: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(calibration_weight=self.calibration_weight)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        chosen, rejected = batch.log_ratio[:, :2].unbind(dim=1)
        target = 1 / (2 * self.beta)
        squares = (chosen - target).square() + (rejected + target).square()
        return -logsigmoid(batch.margin()) + self.calibration_weight * squares
