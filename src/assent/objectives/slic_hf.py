"""SLiC-HF: a hinge on the log-probabilities themselves, plus imitation of the chosen answer.

Source: Zhao et al. 2023, arXiv 2305.10425.

    L = max(0, delta - log p_w + log p_l) - lambda log p_w

Sums over tokens, no reference. Some tools normalise by length, which is another loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.objectives.checks import not_negative
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import CHOSEN, PLAIN, Part


@dataclass(frozen=True)
class SLiCHF:
    """Sequence likelihood calibration with human feedback.

    Args:
        delta: margin in nats that the chosen answer must have over the rejected one.
        nll_weight: weight lambda of the chosen answer's negative log-likelihood.
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    delta: float = 1.0
    nll_weight: float = 0.1

    def __post_init__(self) -> None:
        not_negative(delta=self.delta, nll_weight=self.nll_weight)

    @property
    def logic(self) -> tuple[Part, ...]:
        """Its preference structure."""
        return Part(PLAIN, "margin", shift=self.delta), Part(CHOSEN, weight=self.nll_weight)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        hinge = (self.delta - batch.margin(batch.policy.sum)).clamp(min=0)
        return hinge - self.nll_weight * batch.policy.sum[:, 0]
