"""RACO: conflict-averse descent whose correction may not exceed the user's own weights.

Source: Chen et al. 2026, arXiv 2602.02495, algorithm 1.

With g_0 = sum w_i g_i:  p = argmin over the simplex of <G_p, g_0> + c |g_0| |G_p|,  G_p = sum p_i g_i
    q_i = min(p_i, w_i),   d = g_0 + c |g_0| G_q / |G_q|

Always <d, g_0> >= (1 - c) |g_0|^2, so limit points are critical for the weighted loss and Pareto-critical. On convex
problems trained to the end it arrives where the weighted sum does, by another path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.objectives.checks import share
from assent.training.gradients.cagrad import conflict_averse


@dataclass(frozen=True)
class RACO:
    """Clipped conflict-averse gradient descent.

    Args:
        radius: how far the direction may leave the weighted gradient, as a share of its length (c), in [0, 1).
    """

    radius: float = 0.4

    def __post_init__(self) -> None:
        share(radius=self.radius)
        if self.radius == 1:
            raise ValueError("radius must be below 1, or the step may stand still")

    def coefficients(self, gram: Tensor, weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[M] coefficients of the gradients, from their Gram matrix [M, M] and the user's weights [M]."""
        return conflict_averse(gram, weights, self.radius, clip=weights / weights.sum())
