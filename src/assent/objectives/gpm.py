"""GPM: log-ratios regressed onto general preference scores, which may be cyclic.

Source: Zhang et al. 2024, arXiv 2410.02197, section 5 (general preference optimization).

    L = mean over the judged answers of (h - s / beta)^2

h = log policy - log reference in nats; s = an answer's mean preference score against the policy's own samples
(its score, already divided by the model's temperature). Where an answer is one of its own K samples the mean is
(K - 1) / K of the expectation, and the policy moves by so much less. The scores' mean over those samples is 0, so the
log partition function is taken as 0. The paper keeps the best and the worst answer: `data.pairs: best_worst`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.lists import judged_scores, kept


@dataclass(frozen=True)
class GPM:
    """General preference optimization on mean preference scores.

    Args:
        beta: strength of the KL penalty; targets are s / beta nats.
    """

    needs: ClassVar[Needs] = Needs(lists=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (1e-3, 0.5)}
    beta: float = 1e-3

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_lists()
        error = (batch.log_ratio - judged_scores(batch) / self.beta).square()
        return kept(error, batch.judged).sum(dim=1) / batch.judged.sum(dim=1)
