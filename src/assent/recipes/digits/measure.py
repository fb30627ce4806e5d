"""What is measured on the testbed: ink, class accuracy, diversity within a class, coverage of the real digits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assent.evaluation.image_diversity import coverage, within_class_distance
from assent.generation.diffusion import sample, seeded_noise
from assent.recipes.digits.data import CLASSES, SIZE, Digits, ink
from assent.recipes.digits.model import scheduler

SAMPLES_PER_CLASS = 30


@dataclass(frozen=True)
class Measured:
    """Numbers of one model on the same seeds as every other."""

    ink: float
    accuracy: float
    diversity: float
    coverage: int
    images: Tensor
    labels: Tensor

    @property
    def inks(self) -> Tensor:
        """[N] ink of each sample."""
        return ink(self.images)


def draw(model: nn.Module, labels: Tensor, seeds: list[int], steps: int = 25) -> Tensor:
    """Samples of the given classes, clipped to the pictures' range."""
    start = seeded_noise((1, SIZE, SIZE), seeds)
    return sample(model, scheduler(), {"class_labels": labels}, start, steps).clamp(-1, 1)


def measure(
    model: nn.Module, classifier: nn.Module, data: Digits, per_class: int = SAMPLES_PER_CLASS, seed: int = 0
) -> Measured:
    """Measures on `per_class` samples of each class."""
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    images = draw(model, labels, [seed * 1_000_003 + i for i in range(len(labels))])
    accuracy = float((classifier(images).argmax(dim=1) == labels).float().mean())
    return Measured(
        float(ink(images).mean()),
        accuracy,
        within_class_distance(images, labels),
        coverage(images, data.images),
        images,
        labels,
    )
