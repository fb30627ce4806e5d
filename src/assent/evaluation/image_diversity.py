"""How varied pictures of a class are, and how much of the real ones they cover.

Coverage counts the distinct real pictures that are the nearest neighbour of some sample (the count that the image
retrieval score of Dombrowski et al. 2024, arXiv 2411.16171, builds on). Distances are Euclidean between flattened
features or pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def within_class_distance(samples: Tensor, labels: Tensor) -> float:
    """Mean Euclidean distance between two samples of one class, over classes with two or more.

    Args:
        samples: [N, ...] pixels or features.
        labels: [N] the class that was asked for.
    """
    means = []
    for label in labels.unique():
        rows = samples[labels == label].flatten(1)
        if len(rows) > 1:
            means.append(torch.pdist(rows).mean())
    return float(torch.stack(means).mean()) if means else float("nan")


def coverage(samples: Tensor, real: Tensor) -> int:
    """How many of the real pictures are the nearest neighbour of at least one sample."""
    return len(nearest(samples, real).unique())


def nearest(samples: Tensor, real: Tensor) -> Tensor:
    """[N] index of the real picture nearest to each sample."""
    return torch.cdist(samples.flatten(1), real.flatten(1)).argmin(dim=1)
