"""The one convex problem behind CAGrad, RACO and MGDA, solved exactly on the Gram matrix of the gradients.

Letters: M objectives.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from assent.errors import InputError

MOST = 10
"""Faces are visited one by one, 2^M of them; more objectives than this are a modelling mistake anyway."""


def least_on_simplex(gram: Tensor, linear: Tensor, scale: float) -> Tensor:
    """[M] the p >= 0 with sum 1 that minimises linear . p + scale sqrt(p' gram p), in float64.

    On each face the stationary points solve a quadratic equation in the multiplier nu:

        A nu^2 - 2 B nu + C - scale^2 = 0,   A = 1' H^-1 1, B = 1' H^-1 b, C = b' H^-1 b,
        p = H^-1 (nu 1 - b) / (A nu - B)

    and a face on which some mixture of gradients vanishes has its kink there. The least candidate wins; false roots
    cannot, since candidates are compared by the objective itself. The Gram matrix must be scaled to order 1.
    """
    size = len(gram)
    if size > MOST:
        raise InputError("too many terms to combine gradients of", found=str(size), expected=f"at most {MOST}")
    best, least = None, torch.inf
    for count in range(1, size + 1):
        for face in map(list, combinations(range(size), count)):
            for inner in _candidates(gram[face][:, face], linear[face], scale):
                point = torch.zeros(size, dtype=gram.dtype)
                point[face] = inner
                value = float(linear @ point + scale * norm(gram, point))
                # A later, larger face must be truly better: equal points are reported on the smallest face.
                if value < least - 1e-15:
                    best, least = point, value
    assert best is not None
    return best


def norm(gram: Tensor, coefficients: Tensor) -> float:
    """Length of the combination of gradients with the given coefficients."""
    return float((coefficients @ gram @ coefficients).clamp(min=0).sqrt())


def _candidates(gram: Tensor, linear: Tensor, scale: float) -> list[Tensor]:
    """Points of the open face, its coordinates, where the minimum over the whole face can lie."""
    if len(gram) == 1:
        return [torch.ones(1, dtype=gram.dtype)]
    values, vectors = torch.linalg.eigh(gram)
    # Short of rank deficiency, rounding can hide the stationary point below; the flattest direction is then within
    # this ratio of it, and being compared by the objective it can do no harm where the other is found.
    null = vectors[:, values < 1e-6 * values[-1].clamp(min=1e-300)]
    found = [vector / vector.sum() for vector in null.T if vector.sum().abs() > 1e-9]
    inverse = torch.linalg.pinv(gram, rtol=1e-12, hermitian=True)
    ones = torch.ones_like(linear)
    first, second = inverse @ ones, inverse @ linear
    consistent = torch.allclose(gram @ first, ones) and torch.allclose(gram @ second, linear)
    a, b, c = float(ones @ first), float(ones @ second), float(linear @ second)
    discriminant = b * b - a * (c - scale * scale)
    if consistent and a > 0 and discriminant > 0:
        root = discriminant**0.5
        found.append(((b + root) / a * first - second) / root)
    return [point for point in found if bool((point >= -1e-12).all())]
