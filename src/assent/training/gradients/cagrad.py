"""CAGrad: the direction near the weighted gradient that helps the worst-off objective most.

Source: Liu et al. 2021, arXiv 2110.14048, algorithm 1; with user weights as in Chen et al. 2026, arXiv 2602.02495.

    d = g_0 + c |g_0| G_p / |G_p|,   p = argmin over the simplex of <G_p, g_0> + c |g_0| |G_p|,   g_0 = sum w_i g_i

The released code divides d by 1 + c^2 (image tasks) or 1 + c (toy problem): `rescale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from assent.objectives.checks import not_negative, one_of
from assent.training.gradients.simplex import least_on_simplex, norm


@dataclass(frozen=True)
class CAGrad:
    """Conflict-averse gradient descent.

    Args:
        radius: how far the direction may leave the weighted gradient, as a share of its length (c).
        rescale: by what the direction is divided: nothing (none), 1 + c^2 (square) or 1 + c (linear).
    """

    radius: float = 0.4
    rescale: Literal["none", "square", "linear"] = "none"

    def __post_init__(self) -> None:
        not_negative(radius=self.radius)
        one_of(("none", "square", "linear"), rescale=self.rescale)

    def coefficients(self, gram: Tensor, weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[M] coefficients of the gradients, from their Gram matrix [M, M] and the user's weights [M]."""
        divisor = {"none": 1.0, "square": 1 + self.radius**2, "linear": 1 + self.radius}[self.rescale]
        return conflict_averse(gram, weights, self.radius) / divisor


def conflict_averse(gram: Tensor, weights: Tensor, radius: float, clip: Tensor | None = None) -> Tensor:
    """[M] coefficients of the conflict-averse direction; the mixture is clipped at the given bounds."""
    total = weights.sum()
    if total <= 0 or bool((weights < 0).any()):
        raise ValueError("weights of objectives are not negative, and not all 0")
    # Gradients of 1e-4 square to 1e-8: absolute tolerances of a solver would fail, so everything is scaled first.
    scale = gram.diagonal().sum()
    user, scaled = (weights / total).double(), gram.double() / scale.clamp(min=1e-300)
    length = norm(scaled, user)
    if radius == 0 or length == 0:
        return weights
    mixture = least_on_simplex(scaled, scaled @ user, radius * length)
    if clip is not None:
        mixture = torch.minimum(mixture, clip.double())
    correction = norm(scaled, mixture)
    if correction == 0:
        return weights
    return (total * (user + radius * length / correction * mixture)).to(weights)
