"""EXO for pairs: the reverse KL divergence to the label, seen as a distribution over the two answers.

Source: Ji et al. 2024, arXiv 2402.00856, eq. 16.

    L = s(z) [log s(z) - log(1 - e)] + s(-z) [log s(-z) - log e],    z = beta (h_w - h_l)

s is the sigmoid, h = log policy - log reference in nats. Minimum 0 at z = logit(1 - e); e = 0 has no finite loss.
The gradient vanishes for pairs that are very wrong. The authors' code writes the label as logits 0 and -10.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log1p
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import below_half, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class EXOPair:
    """Efficient exact optimization on pairs: mode-seeking where DPO covers.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        label_smoothing: probability that the label gives to the rejected answer, in (0, 1/2).
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.1, 0.5)}
    beta: float = 0.1
    label_smoothing: float = 1e-3

    def __post_init__(self) -> None:
        positive(beta=self.beta, label_smoothing=self.label_smoothing)
        below_half(label_smoothing=self.label_smoothing)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        z = self.beta * batch.margin()
        chosen = z.sigmoid() * (logsigmoid(z) - log1p(-self.label_smoothing))
        return chosen + (-z).sigmoid() * (logsigmoid(-z) - log(self.label_smoothing))
