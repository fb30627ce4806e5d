"""What the diffusion experiments share: the base model of a seed, trained once."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from assent.recipes.digits.data import Digits, digits
from assent.recipes.digits.measure import Measured, measure
from assent.recipes.digits.model import DigitDenoiser, train_classifier, train_denoiser

KEPT = Path(__file__).parents[1] / "out" / "digits"
FULL = 5000


def prepared(seed: int, base_steps: int = FULL) -> tuple[Digits, nn.Module, DigitDenoiser]:
    """The digits, the classifier and the base model of a seed; a full base model is kept between experiments."""
    torch.set_num_threads(1)
    data = digits(seed)
    classifier = train_classifier(data, seed)
    path = KEPT / f"base-{seed}-{base_steps}.pt"
    if path.exists():
        base = DigitDenoiser()
        base.load_state_dict(torch.load(path, weights_only=True))
        return data, classifier, base
    base = train_denoiser(data, base_steps, seed)
    if base_steps == FULL:
        KEPT.mkdir(parents=True, exist_ok=True)
        torch.save(base.state_dict(), path)
    return data, classifier, base


def numbers(name: str, measured: Measured) -> dict[str, float]:
    """A model's numbers under its name."""
    return {
        f"{name}: ink": measured.ink,
        f"{name}: accuracy": measured.accuracy,
        f"{name}: diversity": measured.diversity,
        f"{name}: coverage": measured.coverage,
    }


def measured(name: str, model: DigitDenoiser, bed: tuple[Digits, nn.Module, DigitDenoiser]) -> dict[str, float]:
    """A model's numbers on the testbed."""
    return numbers(name, measure(model, bed[1], bed[0]))
