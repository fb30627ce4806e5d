"""OSP: cross-entropy to how strongly a pair is preferred; certain judges give DPO.

Source: Zhai et al. 2024, arXiv 2405.14103 (soft-preference cross-entropy).

    L = -p log s(z) - (1 - p) log s(-z),    z = beta (h_w - h_l)

h = log policy - log reference in nats, s the sigmoid, p the comparison's confidence that the chosen answer is
better; a pair without one counts as certain. Minimum at z = logit p, where margins stop growing; its value is the
entropy of p, so compare excess losses. p = 1/2 is a tie and pulls the margin to 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class OSP:
    """Online self-preferring: soft labels.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        certainty: largest confidence taken at its word, in (1/2, 1]; a saturated judge would restore DPO.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, ties=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 1.0)}
    beta: float = 0.1
    certainty: float = 0.99

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        if not 0.5 < self.certainty <= 1:
            raise ValueError(f"certainty must be in (0.5, 1], got {self.certainty}")

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_two()
        z = self.beta * (batch.log_ratio[:, 0] - batch.log_ratio[:, 1])
        given = torch.ones_like(z) if batch.confidence is None else batch.confidence.nan_to_num(nan=1.0)
        strength = given.to(z.dtype).clamp(1 - self.certainty, self.certainty)
        return -strength * logsigmoid(z) - (1 - strength) * logsigmoid(-z)
