"""LN-DPO: DPO on log-ratios per token, so that length buys no margin.

Source: Ahrabian et al. 2024, arXiv 2407.15229; the same loss in Lambert et al. 2024, arXiv 2411.15124 (Tulu 3).

    L = l(beta (h_w / |y_w| - h_l / |y_l|)),    l(z) = -log sigmoid(z)

h = log policy - log reference, |y| the scored tokens, EOS included. With equal lengths n it is DPO at beta / n,
so beta is ten to fifty times DPO's. Each token of a short answer moves more than one of a long answer:
the length bias of DPO can turn round rather than vanish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import below_half, positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import REFERENCED, Part


@dataclass(frozen=True)
class LNDPO:
    """Length-normalised DPO.

    Args:
        beta: inverse temperature of the reward per token, in tokens per nat.
        label_smoothing: share of the pairs whose label is taken to be wrong, in [0, 1/2).
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (1.0, 5.0)}
    beta: float = 2.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        below_half(label_smoothing=self.label_smoothing)

    @property
    def logic(self) -> tuple[Part, ...] | None:
        """Its preference structure."""
        plain = Part(REFERENCED, scale=self.beta, per_token=True)
        return (plain,) if self.label_smoothing == 0 else None

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        z = self.beta * batch.margin(batch.mean_log_ratio)
        return -(1 - self.label_smoothing) * logsigmoid(z) - self.label_smoothing * logsigmoid(-z)
