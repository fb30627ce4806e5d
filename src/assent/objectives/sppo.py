"""SPPO: each answer's log-ratio is regressed onto its scaled win probability, one step of self-play.

Source: Wu et al. 2024, arXiv 2405.00675, eq. 4.7.

    L = [(h_w - (P_w - 1/2) / eta)^2 + (h_l - (P_l - 1/2) / eta)^2] / 2

h = log policy - log reference in nats; P = an answer's mean probability to beat the policy's own samples, given as
its score. `hard` takes P = 1 and 0 and drops the factor 1/2, as other tools do, whatever the scores are. The
targets are hundreds of nats away, so the learning rate must be tiny.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.errors import InputError
from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class SPPO:
    """Self-play preference optimization.

    Args:
        eta_inverse: the inverse step size 1/eta of the paper; targets are (P - 1/2) / eta_inverse.
        hard: win probabilities 1 and 0 and twice the loss, instead of the scores.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"eta_inverse": (1e-3, 1e-2)}
    eta_inverse: float = 1e-3
    hard: bool = False

    def __post_init__(self) -> None:
        positive(eta_inverse=self.eta_inverse)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_pairs()
        wins = batch.scores[:, :2]
        if self.hard:
            wins = wins.new_tensor([1.0, 0.0]).expand_as(wins)
        elif bool(((wins < 0) | (wins > 1)).any()):
            raise InputError(
                "SPPO takes scores as win probabilities",
                field="score",
                found=f"{float(wins.min())} to {float(wins.max())}",
                expected="0 to 1",
                remedy="Set `hard: true`, or write each answer's share of wins into its score",
            )
        errors = (batch.log_ratio[:, :2] - (wins - 0.5) / self.eta_inverse).square().sum(dim=1)
        return errors if self.hard else errors / 2
