"""MGDA: the shortest convex combination of the gradients, a descent direction for all of them.

Source: Desideri 2012; Sener and Koltun 2018, arXiv 1810.04650, eq. 6.

    p = argmin over the simplex of |sum p_i g_i|

User weights play no part: it stops at the first Pareto-critical point it meets. Widely copied solvers return 0.999
where the answer is 1, and may return nothing for three gradients; this one is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from assent.training.gradients.simplex import least_on_simplex


@dataclass(frozen=True)
class MGDA:
    """Multiple-gradient descent."""

    def coefficients(self, gram: Tensor, weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[M] coefficients of the gradients, from their Gram matrix [M, M]; they sum to 1."""
        scaled = gram.double() / gram.diagonal().sum().clamp(min=1e-300)
        if bool((scaled == scaled[0, 0]).all()):
            return torch.full_like(weights, 1 / len(weights))  # equal gradients: every mixture is the same
        return least_on_simplex(scaled, torch.zeros(len(gram), dtype=torch.float64), 1.0).to(weights)
