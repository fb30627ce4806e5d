"""DDIM-InPO on real digits: inverted latents are the model's own, and aligning on them keeps more diversity.

Pairs of digits, the thicker preferred; beta 1000, 32 pairs a step, against Diffusion-DPO with the same settings.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assent.likelihood.diffusion import LATENTS, TARGET, DiffusionPolicy, Draws
from assent.likelihood.inversion import Inversion, InvertedDiffusionPolicy
from assent.likelihood.noising import Noising
from assent.recipes.digits.align import Plan, align
from assent.recipes.digits.data import ink_pairs
from assent.recipes.digits.model import DigitDenoiser, scheduler
from experiments._digits import measured, prepared

EXPECTED = {
    "error with random noise": ".082",
    "error, 10 hops": ".037",
    "error, 50 hops": ".022",
    "dpo, 50 steps: ink": ".368-.382",
    "dpo, 50 steps: diversity": "3.4-3.6",
    "dpo, 50 steps: coverage": "196-225",
    "inpo, 50 steps: ink": ".362-.373",
    "inpo, 50 steps: diversity": "3.9-4.05",
    "inpo, 50 steps: coverage": "217-238",
    "dpo, 200 steps: coverage": "142",
    "inpo, 200 steps: coverage": "231",
    "dpo, 200 steps: loser's error above the reference's": ".12",
    "inpo, 200 steps: loser's error above the reference's": ".024",
}
CLAIMS = {
    "inverted noise is at most half as far off as random noise": lambda r: (
        r["error, 10 hops"] <= 0.5 * r["error with random noise"]
    ),
    "50 hops are nearer than 10": lambda r: r["error, 50 hops"] < r["error, 10 hops"],
    "InPO keeps more diversity at 50 steps": lambda r: (
        r["inpo, 50 steps: diversity"] > r["dpo, 50 steps: diversity"] + 0.1
    ),
    "coverage is not lower": lambda r: r["inpo, 50 steps: coverage"] >= r["dpo, 50 steps: coverage"],
    "over-optimisation is slower at 200 steps": lambda r: (
        r["inpo, 200 steps: coverage"] > r["dpo, 200 steps: coverage"] + 20
    ),
}
QUICK = {"base_steps": 20, "steps": 4, "pairs": 64, "held_out": 16}


def run(
    seed: int, base_steps: int = 5000, steps: int = 200, pairs: int = 2000, held_out: int = 256
) -> dict[str, float]:
    bed = prepared(seed, base_steps)
    data, _, base = bed
    found = {"error with random noise": random_error(base, data.test_images[:held_out], data.test_labels[:held_out])}
    for hops in (10, 50):
        found[f"error, {hops} hops"] = inverted_error(
            base, data.test_images[:held_out], data.test_labels[:held_out], hops
        )
    thicker = ink_pairs(data, pairs, seed)
    for count, name in ((max(1, steps // 4), "50 steps"), (steps, "200 steps")):
        for method, inverted in (("dpo", False), ("inpo", True)):
            plan = Plan({"diffusion_dpo": {"beta": 1000}}, count, 32, inverted)
            aligned = align(base, thicker, plan, seed)
            found |= measured(f"{method}, {name}", aligned.model, bed)
            found[f"{method}, {name}: loser's error above the reference's"] = -aligned.log["rewards/rejected"] / 1000
    return found


LEVELS = (50, 150, 250, 350, 450, 550, 650, 750, 850, 950)


def random_error(base: DigitDenoiser, images: Tensor, labels: Tensor) -> float:
    """Mean noise-prediction error over ten levels, random noise."""
    policy = DiffusionPolicy(base, Noising.from_scheduler(scheduler()))
    torch.manual_seed(0)
    return mean_error(policy, images, labels, lambda index: (torch.randn_like(images), None))


def inverted_error(base: DigitDenoiser, images: Tensor, labels: Tensor, hops: int) -> float:
    """The same with inverted latents and their pseudo-noise."""
    policy = InvertedDiffusionPolicy(base, Noising.from_scheduler(scheduler()), Inversion(hops, 0.0), Draws())

    def make(index: Tensor) -> tuple[Tensor, Tensor]:
        latents = policy.inverted(images, index, {"class_labels": labels}, torch.zeros_like(images))
        signal, noise = (table[index].view(-1, 1, 1, 1) for table in (policy.noising.signal, policy.noising.noise))
        return (latents - signal * images) / noise, latents

    return mean_error(policy, images, labels, make)


@torch.no_grad()
def mean_error(policy: DiffusionPolicy, images: Tensor, labels: Tensor, make: object) -> float:
    errors = []
    for level in LEVELS:
        index = torch.full((len(images),), level)
        noise, latents = make(index)
        batch = {
            LATENTS: images,
            "noise": noise,
            "index": index,
            "conditioning": {"class_labels": labels},
            TARGET: noise,
        }
        if latents is not None:
            batch["noisy"] = latents
        predicted, target = policy.predict(batch)
        errors.append((predicted - target).square().mean())
    return float(torch.stack(errors).mean())
