"""SimPER: the difference of inverse perplexities; nothing to tune.

Source: Xiao et al. 2025, arXiv 2502.00883, eq. 6.

    L = e^{m_l} - e^{m_w},    m = log p / |y|

Bounded in (-1, 1); the gradient of an unlikely answer vanishes, in either direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class SimPER:
    """Simple alignment with perplexity optimization: no reference and no hyperparameter."""

    needs: ClassVar[Needs] = Needs(pairs=True)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        # A log-probability is at most 0; densities of other policies must not overflow.
        return -batch.margin(batch.policy.mean.clamp(max=0).exp())
