"""scikit-learn's 1,797 handwritten digits, their ink, and pairs in which the thicker stroke is preferred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.likelihood.diffusion import LATENTS

CLASSES, SIZE, TRAINING = 10, 8, 1500
NULL = CLASSES
"""The class that stands for no class."""


@dataclass(frozen=True)
class Digits:
    """Images [N, 1, 8, 8] in [-1, 1] and classes [N], split by a seed into 1,500 and 297."""

    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def digits(seed: int = 0) -> Digits:
    """The digits, shuffled and split."""
    raw = load_digits()
    order = np.random.default_rng(seed).permutation(len(raw.target))
    images = torch.tensor(raw.images[order] / 8 - 1, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(raw.target[order], dtype=torch.long)
    return Digits(images[:TRAINING], labels[:TRAINING], images[TRAINING:], labels[TRAINING:])


def ink(images: Tensor) -> Tensor:
    """[N] share of the picture that is ink: the stated preference is for more of it."""
    return (images.clamp(-1, 1).flatten(1).mean(dim=1) + 1) / 2


def ink_pairs(data: Digits, count: int, seed: int = 0) -> list[EncodedComparison]:
    """Pairs of two training digits of one class, the one with more ink first."""
    generator = np.random.default_rng([seed, 1])
    amount = ink(data.images).numpy()
    members = [np.flatnonzero(data.labels.numpy() == label) for label in range(CLASSES)]
    pairs: list[EncodedComparison] = []
    while len(pairs) < count:
        label = int(generator.integers(CLASSES))
        first, second = _two(members[label], generator)
        if amount[first] == amount[second]:
            continue
        best, worst = (first, second) if amount[first] > amount[second] else (second, first)
        pairs.append(pair(data.images[best], data.images[worst], label, label, f"digits-{seed}-{len(pairs)}"))
    return pairs


def pair(chosen: Tensor, rejected: Tensor, chosen_label: int, rejected_label: int, name: str) -> EncodedComparison:
    """A comparison of two pictures under their classes."""
    candidates = tuple(
        EncodedCandidate((), (), 0, {LATENTS: image, "class_labels": torch.tensor(label)})
        for image, label in ((chosen, chosen_label), (rejected, rejected_label))
    )
    return EncodedComparison(name, candidates, (1.0, 0.0), (-1, -1), (None, None))


def _two(members: NDArray[np.int64], generator: np.random.Generator) -> tuple[int, int]:
    first, second = generator.choice(members, 2, replace=False)
    return int(first), int(second)
