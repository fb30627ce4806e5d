"""Length-regularised DPO: part of a longer winner's margin is paid for by its length.

Source: Park et al. 2024, arXiv 2403.19159; Hein et al. 2024, arXiv 2410.07025 (LC-DPO).

    L = (1 - e) l(z) + e l(-z),   z = beta (h_w - h_l) + alpha (|y_w| - |y_l|),   l(z) = -log sigmoid(z)

h = log policy - log reference in nats, |y| scored tokens. Mind the plus: a longer winner needs less margin from
the policy and is pushed less. A public implementation has minus, which rewards length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import below_half, not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class LengthDPO:
    """DPO with a length regulariser.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        alpha: margin credited for each token that the chosen answer is longer, in 1/token.
        label_smoothing: share of the pairs whose label is taken to be wrong, in [0, 1/2).
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5), "alpha": (0.005, 0.1)}
    beta: float = 0.1
    alpha: float = 0.05
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(alpha=self.alpha)
        below_half(label_smoothing=self.label_smoothing)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        z = self.beta * batch.margin() + self.alpha * batch.margin(batch.policy.length)
        return -(1 - self.label_smoothing) * logsigmoid(z) - self.label_smoothing * logsigmoid(-z)
