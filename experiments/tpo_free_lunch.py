"""TPO on real digits: better captions are followed more closely, without any pair of pictures.

A caption names a digit and how thick it is (tercile of ink within the class). The base model learns from a corpus in
which half of the captions are wrong. Then 300 steps on right captions: as supervised fine-tuning, as TDPO (each
picture under its caption and under one with another digit or another thickness), and as TKTO (the same, labelled).
Measured on 600 samples for all 30 captions (a share is known to .02): is the digit right, is the thickness, are both?

What TDPO pays for its open end: the mismatched caption's error may be raised without bound, and after 300 steps the
winner's error is .05 above the reference's. All samples have become thicker ("ink", against .306 of the real ones),
by how much varies with the seed: "thick" is then nearly always right and "thin" seldom. With the mismatched error
clipped it does not go that far; stopping after 100 steps helps in two seeds of three.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.likelihood.diffusion import LATENTS
from assent.likelihood.noising import Noising
from assent.recipes.digits.align import Plan, align
from assent.recipes.digits.data import CLASSES, SIZE, Digits, digits, ink
from assent.recipes.digits.measure import draw
from assent.recipes.digits.model import WIDTH, DigitDenoiser, scheduler, train_classifier

LEVELS = 3
"""Thin, medium, thick."""
EXPECTED = {
    "base: both": ".15",
    "sft: digit": ".58-.59",
    "sft: both": ".36-.38",
    "tdpo: digit": ".63-.66",
    "tdpo: both": ".38-.50",
    "tkto: both": ".51-.55",
    "tdpo, clipped: winner's error above the reference's": ".002-.003",
}
CLAIMS = {
    "TKTO follows whole captions better than SFT by .08 or more": lambda r: r["tkto: both"] >= r["sft: both"] + 0.08,
    "TDPO follows whole captions as well as SFT": lambda r: r["tdpo: both"] >= r["sft: both"] - 0.02,
    "TDPO with the clip follows whole captions better than SFT by .03 or more": lambda r: (
        r["tdpo, clipped: both"] >= r["sft: both"] + 0.03
    ),
    "after 100 steps TDPO follows whole captions as well as SFT after 300": lambda r: (
        r["tdpo, 100 steps: both"] >= r["sft: both"] - 0.02
    ),
    "TDPO without the clip drifts: samples are thicker than SFT's by .01 or more": lambda r: (
        r["tdpo: ink"] >= r["sft: ink"] + 0.01
    ),
    "TDPO names the digit better than SFT by .03 or more": lambda r: r["tdpo: digit"] >= r["sft: digit"] + 0.03,
    "the clip keeps the winner's error from rising": lambda r: (
        r["tdpo, clipped: winner's error above the reference's"] < r["tdpo: winner's error above the reference's"] / 2
    ),
    "an editor that changes nothing teaches nothing": lambda r: (
        abs(r["broken editor: both"] - r["base: both"]) < 0.05
    ),
}
QUICK = {"base_steps": 20, "steps": 4, "pairs": 64, "samples": 1}


class Captions(nn.Module):
    """A caption's embedding: that of its digit plus that of its thickness."""

    def __init__(self) -> None:
        super().__init__()
        self.digit, self.thickness = nn.Embedding(CLASSES, WIDTH), nn.Embedding(LEVELS, WIDTH)

    def forward(self, captions: Tensor) -> Tensor:
        return self.digit(captions // LEVELS) + self.thickness(captions % LEVELS)


def run(
    seed: int, base_steps: int = 4000, steps: int = 300, pairs: int = 4000, samples: int = 20
) -> dict[str, float]:
    torch.set_num_threads(1)
    data = digits(seed)
    classifier = train_classifier(data, seed)
    bounds = terciles(data)
    captions = data.labels * LEVELS + level(ink(data.images), data.labels, bounds)
    base = train_base(data, captions, base_steps, seed)

    def followed(name: str, model: DigitDenoiser) -> dict[str, float]:
        asked = torch.arange(CLASSES * LEVELS).repeat_interleave(samples)
        images = draw(model, asked, [1_000_003 * (seed + 1) + place for place in range(len(asked))])
        with torch.no_grad():
            digit = classifier(images).argmax(dim=1) == asked // LEVELS
        # Whether it is thick for the digit that was asked for.
        thickness = level(ink(images), asked // LEVELS, bounds) == asked % LEVELS
        shares = {"digit": digit, "thickness": thickness, "both": digit & thickness}
        found = {f"{name}: {what}": float(share.float().mean()) for what, share in shares.items()}
        return found | {f"{name}: ink": float(ink(images).mean())}

    matched = edited_pairs(data, captions, pairs, seed)
    found = followed("base", base)
    found |= followed("sft", align(base, matched, Plan("sft", steps), seed).model)
    for name, clip, taken in (
        ("tdpo", None, steps),
        ("tdpo, 100 steps", None, max(1, steps // 3)),
        ("tdpo, clipped", 0.01, steps),
    ):
        objective = {"tpo_free_lunch": {"variant": "tdpo", "beta": 500.0, "negative_clip": clip}}
        aligned = align(base, matched, Plan(objective, taken), seed)
        found |= followed(name, aligned.model)
        found[f"{name}: winner's error above the reference's"] = -aligned.log["rewards/chosen"] / 500
    labelled = [one for pair in matched for one in singles(pair)]
    tkto = {"tpo_free_lunch": {"variant": "tkto", "beta": 500.0}}
    found |= followed("tkto", align(base, labelled, Plan(tkto, steps, 128), seed).model)
    same = [replace(pair, candidates=(pair.candidates[0],) * 2) for pair in matched]
    tdpo = {"tpo_free_lunch": {"variant": "tdpo", "beta": 500.0}}
    return found | followed("broken editor", align(base, same, Plan(tdpo, steps), seed).model)


def terciles(data: Digits) -> Tensor:
    """[10, 2] the ink that parts thin from medium and medium from thick, by class."""
    amount = ink(data.images)
    shares = torch.tensor([1 / 3, 2 / 3])
    return torch.stack([amount[data.labels == label].quantile(shares) for label in range(CLASSES)])


def level(amount: Tensor, labels: Tensor, bounds: Tensor) -> Tensor:
    """[N] 0, 1 or 2: thin, medium or thick for a digit of its class."""
    return (amount[:, None] > bounds[labels]).sum(dim=1)


def train_base(data: Digits, captions: Tensor, steps: int, seed: int) -> DigitDenoiser:
    """A model of a badly captioned corpus: half of the captions are drawn at random."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    noising = Noising.from_scheduler(scheduler())
    model = DigitDenoiser()
    model.label = Captions()  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(0, len(data.images), (128,), generator=generator)
        random = torch.randint(0, CLASSES * LEVELS, (128,), generator=generator)
        told = torch.where(torch.rand(128, generator=generator) < 0.5, random, captions[rows])
        index = noising.draw(128, generator)
        noise = torch.randn(128, 1, SIZE, SIZE, generator=generator)
        predicted = model(noising.noisy(data.images[rows], noise, index), index, told)
        optimizer.zero_grad()
        functional.mse_loss(predicted, noise).backward()
        optimizer.step()
        decay.step()
    return model


def edited_pairs(data: Digits, captions: Tensor, count: int, seed: int) -> list[EncodedComparison]:
    """Pictures under their caption and under an edited one: half with another digit, half with another thickness."""
    generator = np.random.default_rng([seed, 3])
    pairs = []
    for number in range(count):
        row = int(generator.integers(len(data.images)))
        digit, thickness = divmod(int(captions[row]), LEVELS)
        if generator.random() < 0.5:
            digit = (digit + int(generator.integers(1, CLASSES))) % CLASSES
        else:
            thickness = (thickness + int(generator.integers(1, LEVELS))) % LEVELS
        candidates = tuple(
            EncodedCandidate((), (), 0, {LATENTS: data.images[row], "class_labels": torch.tensor(caption)})
            for caption in (int(captions[row]), digit * LEVELS + thickness)
        )
        pairs.append(EncodedComparison(f"tpo-{seed}-{number}", candidates, (1.0, 0.0), (-1, -1), (None, None)))
    return pairs


def singles(pair: EncodedComparison) -> list[EncodedComparison]:
    """The two captions of a pair as labelled items of their own."""
    return [
        replace(
            pair,
            id=f"{pair.id}-{label}",
            candidates=(candidate,),
            scores=(float("nan"),),
            labels=(label,),
            roles=(None,),
        )
        for candidate, label in zip(pair.candidates, (1, 0), strict=True)
    ]
