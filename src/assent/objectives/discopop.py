"""DiscoPOP: a loss found by a language model, part logistic and part exponential.

Source: Lu et al. 2024, arXiv 2406.08414, eq. 4.

    L = (1 - m) l(z) + m e^-z,    m = s(z / t),    z = beta (h_w - h_l),    l(z) = -log s(z)

Not convex: with t = 0.05 it has a local minimum at z = -0.119 and a maximum at 0.072, and the start, z = 0, lies
between them. Full-batch training on clean pairs therefore reverses them; the method relies on noise and large
steps to jump out. m e^-z is taken as e^(log s(z / t) - z): the product is 0 times infinity for very negative z.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class DiscoPOP:
    """Discovered preference optimization: log-ratio modulated loss.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        temperature: width t of the switch from the logistic to the exponential part.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.1), "temperature": (0.05, 0.05)}
    beta: float = 0.05
    temperature: float = 0.05

    def __post_init__(self) -> None:
        positive(beta=self.beta, temperature=self.temperature)
        if self.temperature >= 1:
            raise ValueError(f"temperature must be below 1 (wrong pairs overflow), got {self.temperature}")

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        z = self.beta * batch.margin()
        logistic = (-z / self.temperature).sigmoid() * -logsigmoid(z)
        return logistic + (logsigmoid(z / self.temperature) - z).exp()
