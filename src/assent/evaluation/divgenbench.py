"""Preference mode collapse, in four numbers over any embeddings, boxes or pixels.

Source: Chen et al. 2025, arXiv 2512.24146 (DivGenBench); the image retrieval score behind ASC: Dombrowski et al.
2024, arXiv 2411.16171; its maximum-likelihood form is our derivation. The extractors (faces, style, boxes) are the
caller's; misses must be counted there, since a model that draws no face must not win.

    IDS  mean pairwise cosine of identity embeddings (lower is more diverse)
    ASC  share of the style space that is reached, relative to real images of the same number
    SDI  1 - mean pairwise similarity of layouts of one prompt
    PVS  spread of saturation, brightness and contrast over images
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import gammaln

from assent.errors import InputError

Array = NDArray[np.float64]
GREY = np.array([0.299, 0.587, 0.114])


def identity_similarity(embeddings: Array) -> float:
    """IDS: mean cosine over all pairs of N face embeddings [N, D]."""
    if len(embeddings) < 2:
        raise InputError("identity similarity needs two faces", found=str(len(embeddings)))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    total = np.square(unit.sum(axis=0)).sum() - len(unit)
    return float(total / (len(unit) * (len(unit) - 1)))


def retrieved(queries: Array, training: Array) -> int:
    """How many distinct training features [N, D] are the nearest neighbour of some query [n, D]."""
    distances = np.square(queries).sum(1)[:, None] - 2 * queries @ training.T + np.square(training).sum(1)[None]
    return len(np.unique(distances.argmin(axis=1)))


def reachable(distinct: int, queries: int, training: int) -> int:
    """The number s of equally likely items under which `distinct` of them in `queries` draws is most likely.

    P(distinct | queries, s) is proportional to s! / ((s - distinct)! s^queries), maximised over
    distinct <= s <= training.
    """
    sizes = np.arange(max(distinct, 1), training + 1, dtype=np.float64)
    likelihood = gammaln(sizes + 1) - gammaln(sizes - distinct + 1) - queries * np.log(sizes)
    return int(sizes[int(likelihood.argmax())])


def style_coverage(distinct: int, distinct_real: int, queries: int, training: int) -> float:
    """ASC: reachable styles of the generated images relative to the real ones, from equally many queries each."""
    return reachable(distinct, queries, training) / reachable(distinct_real, queries, training)


def box_overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0.0) * max(height, 0.0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - common
    return common / union if union > 0 else 0.0


def layout_similarity(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> float:
    """Overlap of the best one-to-one matching of two layouts, over the larger one; two empty layouts are alike."""
    if not first or not second:
        return float(not first and not second)
    overlaps = np.array([[box_overlap(a, b) for b in second] for a in first])
    rows, columns = linear_sum_assignment(-overlaps)
    return float(overlaps[rows, columns].sum()) / max(len(first), len(second))


def layout_diversity(prompts: Sequence[Sequence[Sequence[Sequence[float]]]]) -> tuple[float, list[float]]:
    """SDI and its value for each prompt, from the boxes of every image of every prompt."""
    values = []
    for images in prompts:
        if len(images) < 2:
            raise InputError("layout diversity needs two images of a prompt", found=str(len(images)))
        pairs = itertools.combinations(images, 2)
        values.append(1 - float(np.mean([layout_similarity(a, b) for a, b in pairs])))
    return float(np.mean(values)), values


def tones(image: Array) -> tuple[float, float, float]:
    """Mean saturation, mean brightness (both HSV) and contrast (deviation of grey) of an image [H, W, 3] in 0..1."""
    top, bottom = image.max(axis=-1), image.min(axis=-1)
    saturation = np.where(top > 0, (top - bottom) / np.where(top > 0, top, 1.0), 0.0)
    return float(saturation.mean()), float(top.mean()), float((image @ GREY).std())


def tonal_variety(images: Sequence[Array]) -> float:
    """PVS: sum of the deviations (n) of saturation, brightness and contrast over images."""
    values = np.array([tones(image) for image in images])
    return float(values.std(axis=0).sum()) if len(values) else math.nan
