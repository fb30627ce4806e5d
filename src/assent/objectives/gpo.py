"""GPO: one family of convex links between the margin and the loss, with DPO, SLiC-norm and IPO in it.

Source: Tang et al. 2024, arXiv 2402.05749, table 1; hinge: Zhao et al. 2023, Liu et al. 2023 (RSO), arXiv 2309.06657.

With z = beta (h_w - h_l), h = log policy - log reference in nats:

    logistic  -log sigmoid(z), which is DPO      hinge                 max(0, 1 - z)
    squared   (z - 1)^2, which is IPO on sums    truncated_quadratic   max(0, 1 - z)^2
    exponential  e^-z                            savage                1 / (1 + e^z)^2

savage is not convex: its gradient vanishes for pairs that are very wrong, which ignores hopeless labels and
cannot recover from a bad start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import one_of, positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import REFERENCED, Part

# e^30 = 1e13: further out the exponential link would overflow in float32 and has long dominated the step.
EXPONENT_LIMIT = 30.0

Link = Literal["logistic", "hinge", "squared", "exponential", "truncated_quadratic", "savage"]


@dataclass(frozen=True)
class GPO:
    """Generalised preference optimization: a choice of link.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        link: how the scaled margin is penalised.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.5)}
    beta: float = 0.1
    link: Link = "truncated_quadratic"

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        one_of(get_args(Link), link=self.link)

    @property
    def logic(self) -> tuple[Part, ...] | None:
        """Its preference structure."""
        known: dict[str, tuple[Part, ...]] = {
            "logistic": (Part(REFERENCED, scale=self.beta),),
            "hinge": (Part(REFERENCED, "hinge", scale=self.beta, shift=1),),
        }
        return known.get(self.link)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        z = self.beta * batch.margin()
        match self.link:
            case "logistic":
                return -logsigmoid(z)
            case "hinge":
                return (1 - z).clamp(min=0)
            case "squared":
                return (z - 1).square()
            case "exponential":
                return (-z).clamp(max=EXPONENT_LIMIT).exp()
            case "truncated_quadratic":
                return (1 - z).clamp(min=0).square()
            case "savage":
                return (-z).sigmoid().square()
