"""MODPO: DPO on one objective's labels with the other objectives' rewards as margins.

Source: Zhou et al. 2023, arXiv 2310.03708, eq. 9.

    L = link(z),    z = [beta (h_w - h_l) - sum_j w_j (r_j(y_w) - r_j(y_l))] / w_0

h = log policy - log reference in nats; the pair is ordered by objective 0, r_j are scores by dimension. A reward
that favours the chosen answer must be paid for first, so the push grows. All margins 0 are DPO at beta / w_0. Put
the rewards on a common scale (differences of order 1 nat) before weighting them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class MODPO:
    """Multi-objective DPO.

    Args:
        margin_weights: weight w_j of each further dimension, by name.
        weight_of_pairs: weight w_0 of the objective that orders the pairs; below 0.05 the loss saturates.
        beta: inverse temperature of the implicit reward, in 1/nat.
        link: logistic, or hinge.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, dimensions=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    example: ClassVar[dict[str, Any]] = {"margin_weights": {"helpful": 0.3}}
    margin_weights: dict[str, float]
    weight_of_pairs: float = 0.5
    beta: float = 0.1
    link: Literal["logistic", "hinge"] = "logistic"

    def __post_init__(self) -> None:
        positive(beta=self.beta, weight_of_pairs=self.weight_of_pairs)
        not_negative(**{f"margin_weights.{name}": weight for name, weight in self.margin_weights.items()})
        one_of(("logistic", "hinge"), link=self.link)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        z = self.beta * batch.margin()
        for name, weight in self.margin_weights.items():
            z = z - weight * batch.margin(batch.dimension(name))
        z = z / self.weight_of_pairs
        return -logsigmoid(z) if self.link == "logistic" else (1 - z).clamp(min=0)
