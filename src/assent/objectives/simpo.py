"""SimPO: the average log-probability as the reward, and a margin the winner must have; no reference.

Source: Meng, Xia, Chen 2024, arXiv 2405.14734, eq. 6.

    L = (1 - e) l(z) + e l(-z),   z = beta (log p_w / |y_w| - log p_l / |y_l|) - gamma,   l(z) = -log sigmoid(z)

gamma stands outside beta; the paper tunes gamma / beta in 0.25..0.55. The released SimPO trainers of other
tools start from beta 0.1 or add a likelihood term; here the loss is the paper's alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import below_half, not_negative, positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import PLAIN, Part


@dataclass(frozen=True)
class SimPO:
    """Simple preference optimization: length-normalised likelihood, target margin, no reference.

    Args:
        beta: scale of the reward, in tokens per nat.
        gamma: margin that the chosen answer's reward must exceed the rejected one's by; not scaled by beta.
        label_smoothing: share of the pairs whose label is taken to be wrong, in [0, 1/2).
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (2.0, 10.0), "gamma": (0.3, 5.5)}
    beta: float = 2.5
    gamma: float = 1.375
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(gamma=self.gamma)
        below_half(label_smoothing=self.label_smoothing)

    @property
    def logic(self) -> tuple[Part, ...] | None:
        """Its preference structure."""
        plain = Part(PLAIN, scale=self.beta, shift=self.gamma, per_token=True)
        return (plain,) if self.label_smoothing == 0 else None

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        # Not batch.mean_log_ratio: in a sum of objectives another one may have brought a reference along.
        margin = self.beta * batch.margin(batch.policy.mean) - self.gamma
        return -(1 - self.label_smoothing) * logsigmoid(margin) - self.label_smoothing * logsigmoid(-margin)
