"""PCGrad: each gradient loses what opposes another one, one by one in random order; then they are added.

Source: Yu et al. 2020, arXiv 2001.06782, algorithm 1.

    for each i, for the others j in random order:  g_i <- g_i - min(0, <g_i, g_j>) / |g_j|^2 g_j(original)

applied to w_i g_i, so that weights count once. Written as coefficients of the original gradients, which need their
inner products only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PCGrad:
    """Projecting conflicting gradients.

    Args:
        mean: the mean of the projected gradients instead of their sum.
    """

    mean: bool = False

    def coefficients(self, gram: Tensor, weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[M] coefficients of the gradients, from their Gram matrix [M, M] and the user's weights [M]."""
        size = len(weights)
        user = weights.double()
        scaled = gram.double() * user.unsqueeze(0) * user.unsqueeze(1)
        projected = torch.eye(size, dtype=torch.float64)
        for i in range(size):
            for j in torch.randperm(size, generator=generator).tolist():
                conflict = projected[i] @ scaled[:, j]
                if i != j and conflict < 0:
                    projected[i, j] -= conflict / scaled[j, j]
        total = projected.sum(dim=0) * user
        return (total / size if self.mean else total).to(weights)
