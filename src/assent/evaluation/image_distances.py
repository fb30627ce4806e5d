"""How far generated pictures are from real ones, by features of both: two distances, and how the sets overlap.

Sources: Heusel et al. 2017, arXiv 1706.08500 (Frechet distance); Binkowski et al. 2018, arXiv 1801.01401 (kernel
distance); Kynkäänniemi et al. 2019, arXiv 1904.06991 (precision, recall); Naeem et al. 2020, arXiv 2002.09797
(density, coverage). The features decide what is measured: values of different features, or of different sample sizes
for the Frechet distance, which is biased, must not be compared. All are computed here, exactly and on the processor:
the packages that have them need torchvision, fetch weights, or are not kept any more.

Letters: N generated, M real pictures, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assent.errors import InputError

Features = NDArray[np.floating]
"""[N, D] features of pictures, whatever the network they come from."""


@dataclass(frozen=True)
class Manifold:
    """How the generated pictures lie among the real ones.

    Args:
        density: real neighbourhoods that a generated picture lies in, over k; may exceed 1.
        coverage: share of the real pictures with a generated one in their neighbourhood.
        precision: share of the generated pictures in some real neighbourhood.
        recall: share of the real pictures in some generated neighbourhood.
    """

    density: float
    coverage: float
    precision: float
    recall: float


def frechet_distance(generated: Features, real: Features) -> float:
    """The squared Frechet distance of the Gaussians fitted to both: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2).

    The trace of the root is taken from the eigenvalues of C1^1/2 C2 C1^1/2, which are real and not negative.
    """
    first, second = _checked(generated, real)
    one, two = np.atleast_2d(np.cov(first, rowvar=False)), np.atleast_2d(np.cov(second, rowvar=False))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ two @ root).clip(min=0)).sum()
    apart = first.mean(axis=0) - second.mean(axis=0)
    return float(max(apart @ apart + np.trace(one) + np.trace(two) - 2 * shared, 0.0))


def kernel_distance(generated: Features, real: Features) -> float:
    """The unbiased squared maximum mean discrepancy under (x y / D + 1)^3; below 0 by chance where both are alike."""
    first, second = _checked(generated, real)
    count, others, size = len(first), len(second), first.shape[1]

    def kernel(left: Features, right: Features) -> Features:
        return np.asarray((left @ right.T / size + 1) ** 3)

    own, real_own = kernel(first, first), kernel(second, second)
    within = (own.sum() - np.trace(own)) / (count * (count - 1))
    beyond = (real_own.sum() - np.trace(real_own)) / (others * (others - 1))
    return float(within + beyond - 2 * kernel(first, second).mean())


@dataclass(frozen=True, eq=False)
class Neighbours:
    """All Euclidean distances between two sets, and inside each.

    Args:
        real: [M, M].
        generated: [N, N].
        across: [M, N].
    """

    real: Features
    generated: Features
    across: Features

    @classmethod
    def of(cls, generated: Features, real: Features) -> Neighbours:
        """The distances of two tables of features; exact, so that equal pictures are at 0."""
        from scipy.spatial.distance import cdist

        first, second = _checked(generated, real)
        return cls(
            np.asarray(cdist(second, second)), np.asarray(cdist(first, first)), np.asarray(cdist(second, first))
        )

    def among(self, generated: NDArray[np.intp], real: NDArray[np.intp]) -> Neighbours:
        """The same for some of the pictures."""
        return Neighbours(
            self.real[np.ix_(real, real)],
            self.generated[np.ix_(generated, generated)],
            self.across[np.ix_(real, generated)],
        )

    def manifold(self, k: int = 5) -> Manifold:
        """How the generated pictures lie; a neighbourhood reaches to the k-th nearest of its own set."""
        if not 1 <= k < min(len(self.real), len(self.generated)):
            raise InputError(
                "k must be below the number of pictures",
                field="k",
                found=f"{k}, {len(self.real)} real and {len(self.generated)} generated",
            )
        inside = self.across <= _radius(self.real, k)[:, None]
        reached = self.across <= _radius(self.generated, k)[None, :]
        return Manifold(
            float(inside.sum() / (k * inside.shape[1])),
            float(inside.any(axis=1).mean()),
            float(inside.any(axis=0).mean()),
            float(reached.any(axis=1).mean()),
        )


def density_and_coverage(generated: Features, real: Features, k: int = 5) -> Manifold:
    """Density, coverage, precision and recall; a neighbourhood reaches to the k-th nearest of its own set."""
    return Neighbours.of(generated, real).manifold(k)


def _radius(own: Features, k: int) -> Features:
    """Distance to the k-th nearest other one; the nearest of all is the picture itself, at 0."""
    return np.asarray(np.partition(own, k, axis=1)[:, k])


def _checked(generated: Features, real: Features) -> tuple[Features, Features]:
    first, second = np.asarray(generated, dtype=np.float64), np.asarray(real, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise InputError(
            "features of both sets must be tables of one width", found=f"{first.shape} and {second.shape}"
        )
    if min(len(first), len(second)) < 2:
        raise InputError("a distance needs at least two pictures of each", found=f"{len(first)} and {len(second)}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise InputError("features must be finite numbers")
    return first, second
