"""KTO on pairs: each side against the mean log-ratio of the other side of the step.

Source: Ethayarajh et al. 2024, arXiv 2402.01306, in the paired form of early implementations.

    L = [s(-beta (h_w - z_l)) + s(-beta (z_w - h_l))] / 2,    z = max(0, mean of the step's h on that side)

h = log policy - log reference in nats, s the sigmoid, no gradient through z. Prefer `kto` where prompts of other
comparisons can be had: these reference points come from answers that the policy is being trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class KTOPair:
    """Kahneman-Tversky optimization on pairs.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, batch=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B], the mean over its two answers."""
        batch.require_pairs()
        chosen, rejected = batch.log_ratio[:, :2].unbind(dim=1)
        moved_chosen, moved_rejected = chosen.detach().mean().clamp(min=0), rejected.detach().mean().clamp(min=0)
        gain = (-self.beta * (chosen - moved_rejected)).sigmoid()
        return (gain + (-self.beta * (moved_chosen - rejected)).sigmoid()) / 2
