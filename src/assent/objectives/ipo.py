"""IPO: regression of the margin onto a fixed gap, which keeps certain pairs from driving it to infinity.

Source: Azar et al. 2023, arXiv 2310.12036, eq. 17.

    L = (h_w - h_l - 1 / (2 beta))^2

h = log policy - log reference. The paper prints sums over tokens; its authors told the implementers that means
per token are what they ran, so `average: true` is the default. The two need different learning rates: the same
beta asks for a gap of 5 nats per token or of 5 nats in all. Minimum at a margin of 1 / (2 beta).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import REFERENCED, Part


@dataclass(frozen=True)
class IPO:
    """Identity preference optimization: squared distance of the margin from 1 / (2 beta).

    Args:
        beta: strength of the regularisation (the paper's tau), in 1/nat; the target margin is 1 / (2 beta).
        average: log-ratios per token (true) or summed over the completion (false).
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 1.0)}
    beta: float = 0.1
    average: bool = True

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    @property
    def logic(self) -> tuple[Part, ...]:
        """Its preference structure."""
        return (Part(REFERENCED, "squared", scale=self.beta, per_token=self.average),)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        margin = batch.margin(batch.mean_log_ratio if self.average else batch.log_ratio)
        return (margin - 1 / (2 * self.beta)).square()
