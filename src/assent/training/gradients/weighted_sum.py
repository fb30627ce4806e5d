"""The weighted sum: the gradient of the weighted loss, whatever conflicts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WeightedSum:
    """Plain scalarisation."""

    def coefficients(self, gram: Tensor, weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[M] the user's weights."""
        return weights
