"""BDHS: DPO against the stored rejected answer and against one the model imagined without the image.

Source: Amirloo et al. 2024, arXiv 2407.02477, eq. 5; the same sum in Zhou et al. 2024, arXiv 2402.11411 (POVID).

    L = gamma l(beta (h_w - h_l)) + (1 - gamma) l(beta (h_w - h_s)),    l(z) = -log sigmoid(z)

h = log policy - log reference in nats, under the clean image; h_s is that of the self-made answer, a helper of role
`self_rejected`. gamma = 1 is DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive, share
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class BDHS:
    """DPO averaged over two rejected answers.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        gamma: share of the stored rejected answer, in [0, 1].
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, helpers=("self_rejected",))
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    gamma: float = 0.5

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        share(gamma=self.gamma)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        stored = self.beta * batch.margin()
        made = self.beta * (batch.log_ratio[:, 0] - batch.helper("self_rejected", batch.log_ratio))
        return -self.gamma * logsigmoid(stored) - (1 - self.gamma) * logsigmoid(made)
