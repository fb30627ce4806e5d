"""RACO: one DPO loss for every score dimension, kept apart for a gradient combiner.

Source: Chen et al. 2026, arXiv 2602.02495; length-normalised and reference-free: AMoPO, its baseline.

    L_i = l(beta s_i D),    D = h_1 - h_2,    l(z) = -log sigmoid(z)

s_i = +1, -1 or 0: whether dimension i prefers column 0, column 1 or neither. A tie or a missing score is log 2
without gradient, and still counts in the mean. h = log policy - log reference in nats. Choose how the gradients
are combined with `gradients:` (raco, cagrad, mgda, pcgrad, weighted_sum).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class RACO:
    """Reward-free alignment for conflicting objectives: one column for each dimension.

    Args:
        dimensions: names of the score dimensions.
        beta: inverse temperature of the implicit reward, in 1/nat.
        average: log-ratios per token instead of sums.
        reference_free: log-probabilities instead of log-ratios; with `average` this is AMoPO.
    """

    example: ClassVar[dict[str, Any]] = {"dimensions": ("helpful", "brief")}
    dimensions: tuple[str, ...]
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 1.5)}
    beta: float = 0.2
    average: bool = False
    reference_free: bool = False

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        if not self.dimensions:
            raise ValueError("dimensions must name at least one score dimension")

    @property
    def needs(self) -> Needs:
        """Two answers with scores by dimension, tied or not."""
        return Needs(pairs=True, dimensions=True, ties=True, reference=not self.reference_free)

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the columns: the dimensions."""
        return tuple(self.dimensions)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison in each dimension, [B, M]."""
        batch.require_two_answers()
        if self.reference_free:
            score = batch.policy.mean if self.average else batch.policy.sum
        else:
            score = batch.mean_log_ratio if self.average else batch.log_ratio
        margin = self.beta * (score[:, 0] - score[:, 1])
        signs = [
            (values[:, 0] - values[:, 1]).nan_to_num().sign() for values in map(batch.dimension, self.dimensions)
        ]
        return -logsigmoid(torch.stack(signs, dim=1).to(margin.dtype) * margin.unsqueeze(1))
