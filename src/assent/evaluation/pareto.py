"""Pareto fronts: which runs are beaten by none, and how much of the objective space a set of runs covers.

Points are runs, coordinates are mean scores by objective, higher is better. Letters: N points, M objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from assent.errors import InputError

Array = NDArray[np.float64]


def as_points(points: ArrayLike) -> Array:
    """[N, M] finite points."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError("points are rows of scores, at least one", found=f"shape {array.shape}")
    if not np.isfinite(array).all():
        raise InputError("a score is not finite", found=str(array[~np.isfinite(array)][0]))
    return array


def non_dominated(points: ArrayLike) -> list[int]:
    """Indices of the points that no other point matches everywhere and beats somewhere, in order."""
    array = as_points(points)
    at_least = (array[:, None, :] >= array[None, :, :]).all(axis=2)
    better = (array[:, None, :] > array[None, :, :]).any(axis=2)
    return [int(index) for index in np.flatnonzero(~(at_least & better).any(axis=0))]


def hypervolume(points: ArrayLike, reference: Sequence[float] | Array) -> float:
    """Volume of the union of the boxes between the reference and each point, for any number of objectives.

    Slices along the last objective, from the top: each slab's volume is its height times the hypervolume of the
    points above it in one dimension less. Points that do not exceed the reference everywhere add nothing.
    """
    array, origin = as_points(points), np.asarray(reference, dtype=np.float64)
    if origin.shape != (array.shape[1],):
        raise InputError(
            "the reference point needs one number per objective",
            found=str(origin.shape),
            expected=str(array.shape[1]),
        )
    inside = array[(array > origin).all(axis=1)]
    return _volume(inside - origin) if len(inside) else 0.0


def _volume(points: Array) -> float:
    if points.shape[1] == 1:
        return float(points.max())
    ordered = points[np.argsort(-points[:, -1], kind="stable")]
    heights = np.append(ordered[:, -1], 0.0)
    volume = 0.0
    for index in range(len(ordered)):
        height = heights[index] - heights[index + 1]
        if height > 0:
            volume += height * _volume(ordered[: index + 1, :-1])
    return volume


def reference_point(*sets: ArrayLike, margin: float = 0.1) -> Array:
    """[M] a point below all sets: their least scores minus a share of the range."""
    together = np.concatenate([as_points(points) for points in sets])
    low, high = together.min(axis=0), together.max(axis=0)
    spread = np.where(high > low, high - low, np.maximum(np.abs(low), 1.0))
    return np.asarray(low - margin * spread, dtype=np.float64)


def coverage(first: ArrayLike, second: ArrayLike) -> float:
    """Share of the second set that some point of the first matches everywhere and beats somewhere."""
    a, b = as_points(first), as_points(second)
    at_least = (a[:, None, :] >= b[None, :, :]).all(axis=2)
    better = (a[:, None, :] > b[None, :, :]).any(axis=2)
    return float((at_least & better).any(axis=0).mean())


def inverted_generational_distance(points: ArrayLike, front: ArrayLike) -> float:
    """Mean distance from the points of a front to the nearest of the given points; 0: the front is reached."""
    a, b = as_points(points), as_points(front)
    return float(np.sqrt(((b[:, None, :] - a[None, :, :]) ** 2).sum(axis=2)).min(axis=1).mean())


@dataclass(frozen=True)
class FrontQuality:
    """How good a set of runs is, on a scale shared with the sets it is compared with.

    Args:
        front: indices of its points that none of its own dominates.
        hypervolume: over the shared reference point, scores scaled to the range of all sets.
        distance: inverted generational distance to the front of all sets together, on the same scale.
        served: mean weighted score of each run under the weights that it was trained for; None without weights.
    """

    front: tuple[int, ...]
    hypervolume: float
    distance: float
    served: float | None


def compare_fronts(
    sets: dict[str, ArrayLike], weights: dict[str, ArrayLike] | None = None, margin: float = 0.1
) -> dict[str, FrontQuality]:
    """The quality of each set of runs, with one normalisation and one reference point for all."""
    arrays = {name: as_points(points) for name, points in sets.items()}
    together = np.concatenate(list(arrays.values()))
    low, spread = together.min(axis=0), np.ptp(together, axis=0)
    scaled = {name: (array - low) / np.where(spread > 0, spread, 1.0) for name, array in arrays.items()}
    union = np.concatenate(list(scaled.values()))
    best, origin = union[non_dominated(union)], reference_point(union, margin=margin)
    return {
        name: FrontQuality(
            front=tuple(non_dominated(array)),
            hypervolume=hypervolume(array, origin),
            distance=inverted_generational_distance(array, best),
            served=None if weights is None else float((arrays[name] * np.asarray(weights[name])).sum(axis=1).mean()),
        )
        for name, array in scaled.items()
    }
