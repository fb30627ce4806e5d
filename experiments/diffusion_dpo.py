"""Diffusion-DPO on real digits: the preferred ink rises, over-optimises, and follows the labels.

Pairs of two digits of one class, the thicker preferred; 400 steps of 64 pairs through the trainer. The preference is
learned far beyond the winners' own mean, diversity falls, and flipped labels undo it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assent.recipes.digits.align import Plan, align
from assent.recipes.digits.data import ink_pairs
from experiments._digits import measured, prepared

EXPECTED = {
    "base: ink": ".307",
    "base: coverage": "258",
    "sft: ink": ".320-.325",
    "dpo: ink": ".436-.441",
    "dpo: accuracy": ".92-.95",
    "dpo: coverage": "140-145",
    "dpo: winner's error above the reference's": ".22-.29",
    "dpo: loser's error above the reference's": ".26-.35",
    "dpo, 30% flipped: ink": ".341-.345",
    "dpo, 100 steps: ink": ".404-.414",
    "dpo, all flipped, 100 steps: ink": ".216",
    "kto: ink": ".346-.361",
    "kto: accuracy": ".98",
}
CLAIMS = {
    "DPO lifts ink above .39 while SFT stays below .335": lambda r: r["dpo: ink"] > 0.39 and r["sft: ink"] < 0.335,
    "both errors end above the reference, the loser's more": lambda r: (
        0 < r["dpo: winner's error above the reference's"] < r["dpo: loser's error above the reference's"]
    ),
    "coverage falls by a quarter or more": lambda r: r["dpo: coverage"] < 0.75 * r["base: coverage"],
    "30% flipped labels cut the gain by two thirds": lambda r: (
        r["dpo, 30% flipped: ink"] - r["base: ink"] < (r["dpo: ink"] - r["base: ink"]) / 3 + 0.01
    ),
    "all labels flipped take ink away": lambda r: r["dpo, all flipped, 100 steps: ink"] < r["base: ink"] - 0.03,
    "KTO ends between SFT and DPO and keeps the classes": lambda r: (
        r["sft: ink"] < r["kto: ink"] < r["dpo: ink"] and r["kto: accuracy"] >= 0.96
    ),
}
QUICK = {"base_steps": 20, "steps": 4, "pairs": 64}


def run(seed: int, base_steps: int = 5000, steps: int = 400, pairs: int = 2000) -> dict[str, float]:
    bed = prepared(seed, base_steps)
    data, _, base = bed
    clean = ink_pairs(data, pairs, seed)
    short = max(1, steps // 4)
    found = measured("base", base, bed)
    found |= measured("sft", align(base, clean, Plan("sft", steps), seed).model, bed)
    aligned = align(base, clean, Plan({"diffusion_dpo": {"beta": 1000}}, steps), seed)
    found |= measured("dpo", aligned.model, bed)
    found["dpo: winner's error above the reference's"] = -aligned.log["rewards/chosen"] / 1000
    found["dpo: loser's error above the reference's"] = -aligned.log["rewards/rejected"] / 1000
    noisy = flipped(clean, 0.3, seed)
    found |= measured(
        "dpo, 30% flipped", align(base, noisy, Plan({"diffusion_dpo": {"beta": 1000}}, steps), seed).model, bed
    )
    for name, labels in (("dpo, 100 steps", clean), ("dpo, all flipped, 100 steps", flipped(clean, 1.0, seed))):
        found |= measured(name, align(base, labels, Plan({"diffusion_dpo": {"beta": 1000}}, short), seed).model, bed)
    single = unpaired(clean)
    found |= measured(
        "kto", align(base, single, Plan({"diffusion_kto": {"beta": 1000}}, steps, 128), seed).model, bed
    )
    return found


def flipped(pairs: list, share: float, seed: int) -> list:
    """The pairs with a share of their verdicts turned round."""
    draws = np.random.default_rng([seed, 2]).random(len(pairs))
    return [
        replace(pair, candidates=pair.candidates[::-1]) if draw < share else pair
        for pair, draw in zip(pairs, draws, strict=True)
    ]


def unpaired(pairs: list) -> list:
    """Each picture on its own, liked or disliked."""
    return [
        replace(
            pair,
            id=f"{pair.id}-{label}",
            candidates=(candidate,),
            scores=(float("nan"),),
            labels=(label,),
            roles=(None,),
        )
        for pair in pairs
        for candidate, label in zip(pair.candidates, (1, 0), strict=True)
    ]
