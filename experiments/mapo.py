"""MaPO on real digits: it learns a style that the base model never draws, where Diffusion-DPO fails.

Style mismatch: the chosen picture is the digit with inverted colours, the rejected one the digit itself. The
reference holds Diffusion-DPO back, which can lower its loss by ruining the rejected picture alone.
"""

from __future__ import annotations

import numpy as np
import torch

from assent.recipes.digits.align import Plan, align
from assent.recipes.digits.data import CLASSES, ink_pairs, pair
from assent.recipes.digits.measure import draw
from experiments._digits import measured, prepared

EXPECTED = {
    "mapo, 100 steps: style": "1.00",
    "mapo: style": "1.00",
    "mapo: accuracy of the inverted": ".90-.93",
    "mapo: distance to inverted digits": "2.9-3.0",
    "sft: style": "1.00",
    "sft: distance to inverted digits": "3.0",
    "dpo: style": "<= .01",
    "dpo: distance to inverted digits": "8-9",
    "mapo, thicker strokes: ink": ".365-.367",
    "mapo, thicker strokes: accuracy": ".93-.95",
    "mapo, thicker strokes: coverage": "227-240",
}
CLAIMS = {
    "MaPO reaches the style within 200 steps": lambda r: r["mapo, 100 steps: style"] >= 0.95,
    "MaPO draws inverted digits": lambda r: (
        r["mapo: accuracy of the inverted"] >= 0.85 and r["mapo: distance to inverted digits"] <= 3.2
    ),
    "Diffusion-DPO never produces the style and leaves both manifolds": lambda r: (
        r["dpo: style"] <= 0.05 and r["dpo: distance to inverted digits"] > 6
    ),
}
QUICK = {"base_steps": 20, "steps": 4, "pairs": 64}


def run(seed: int, base_steps: int = 5000, steps: int = 800, pairs: int = 2000) -> dict[str, float]:
    bed = prepared(seed, base_steps)
    data, classifier, base = bed
    inverted = [
        pair(-data.images[i], data.images[i], int(data.labels[i]), int(data.labels[i]), f"style-{n}")
        for n, i in enumerate(np.random.default_rng([seed, 3]).integers(0, len(data.images), pairs))
    ]
    plans = {
        "mapo, 100 steps": Plan("mapo", max(1, steps // 8)),
        "mapo": Plan("mapo", steps),
        "sft": Plan("sft", steps),
        "dpo": Plan({"diffusion_dpo": {"beta": 1000}}, steps),
    }
    found = {}
    for name, plan in plans.items():
        model = align(base, inverted, plan, seed).model
        labels = torch.arange(CLASSES).repeat_interleave(30)
        samples = draw(model, labels, [seed * 1_000_003 + i for i in range(len(labels))])
        found[f"{name}: style"] = float((samples.flatten(1).mean(1) > 0).float().mean())
        found[f"{name}: accuracy of the inverted"] = float((classifier(-samples).argmax(1) == labels).float().mean())
        distance = torch.cdist(samples.flatten(1), -data.test_images.flatten(1)).min(dim=1).values
        found[f"{name}: distance to inverted digits"] = float(distance.mean())
    thicker = align(base, ink_pairs(data, pairs, seed), Plan("mapo", max(1, steps // 2)), seed).model
    return found | measured("mapo, thicker strokes", thicker, bed)
