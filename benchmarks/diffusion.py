"""Diffusion-DPO with LoRA on a tiny SDXL: kept latents and embeddings against encoding in every step."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.cases import Case, Side
from benchmarks.diffusion_model import Shape, described, save_model, save_pairs
from benchmarks.running import Worker, run

BAR = 1.5
PAIRS = 4
BETA = 2000.0
SAME_LOSS = 1e-6
SIDES = (
    Side("Assent, latents and embeddings kept", "ours_diffusion", {}),
    Side("the public example's arithmetic, encoding in every step", "example_diffusion", {}, BAR),
)

NOTE = (
    "Both sides are fed the same latents, noise and timesteps, and take steps in turn, on one thread each. The "
    "adapter does not start at 0, so that the first loss says something. The loss multiplies differences of "
    "mean squared errors by beta / 2 = 1,000, and their rounding in float32 with them: the last column is the "
    "difference of the first loss over that factor. The encoders' share is that of the example's step in which "
    "it opens and encodes pictures and captions: what is gained beyond it comes from latents that lie in "
    "memory in order (the VAE leaves them channels last, which costs the first passes about 5%) and from other "
    "work on the machine, to be read off the processor seconds. Where the network is large beside its "
    "encoders, little is gained. {}"
)


@dataclass(frozen=True)
class Setting:
    """A model to compare on.

    Args:
        name: what the table calls it.
        shape: of its parts.
    """

    name: str
    shape: Shape


SETTINGS = (
    Setting("64 px, network and encoders of one width", Shape(64, network=32, encoder=32)),
    Setting("128 px, the same", Shape(128, network=32, encoder=32)),
    Setting("64 px, encoders small beside the network", Shape(64, network=96, blocks=4, encoder=16)),
)


def measure_diffusion(
    folder: Path, steps: int, warm: int, settings: Sequence[Setting] = SETTINGS, pairs: int = PAIRS
) -> dict[str, Any]:
    """Seconds a step of both sides, step by step in turn, and whether their first losses are the same number."""
    records = [_record(setting, _workers(setting, folder, steps, warm, pairs), warm) for setting in settings]
    return {
        "kind": "diffusion",
        "title": f"Diffusion-DPO with LoRA on a tiny SDXL, {pairs} pairs a step",
        "note": NOTE.format(real_share()),
        "steps": steps,
        "warm": warm,
        "columns": [
            "model",
            "seconds a step, Assent",
            "seconds a step, the example",
            "processor seconds, Assent",
            "processor seconds, the example",
            "encoders' share of the example's step",
            "steps/s of Assent, times the example's",
            "in processor seconds",
            f"bar {BAR:g}",
            "difference of the first loss / (beta / 2)",
        ],
        "cells": [_cells(record) for record in records],
        "records": records,
    }


def _workers(setting: Setting, folder: Path, steps: int, warm: int, pairs: int) -> list[Worker]:
    slug = f"diffusion-{setting.shape.side}-{setting.shape.network}"
    place = folder / slug
    place.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place / "store", ignore_errors=True)
    save_model(place / "model", setting.shape)
    save_pairs(place / "pairs.jsonl", setting.shape, pairs * (warm + steps))
    told = {
        "case": slug,
        "folder": str(place),
        "model": str(place / "model"),
        "rows": str(place / "pairs.jsonl"),
        "store": str(place / "store"),
        "shape": described(setting.shape),
        "per_step": pairs,
        "beta": BETA,
        "learning_rate": 1e-4,
    }
    return run(Case(slug, "", list, pairs, SIDES), SIDES, warm + steps, told, {})


def _record(setting: Setting, workers: Sequence[Worker], warm: int) -> dict[str, Any]:
    ours, example = (
        {
            "seconds": median(step["seconds"] for step in worker.steps[warm:]),
            "processor_seconds": median(step["processor_seconds"] for step in worker.steps[warm:]),
            "losses": [step["loss"] for step in worker.steps],
            "preparation_seconds": worker.ready["preparation"],
            "peak_bytes": worker.end["peak_bytes"],
        }
        for worker in workers
    )
    share = median(step["encoding"] / step["seconds"] for step in workers[1].steps[warm:])
    first = abs(ours["losses"][0] - example["losses"][0]) / (BETA / 2)
    return {
        "model": setting.name,
        "shape": described(setting.shape),
        "ours": ours,
        "example": example,
        "encoders_share": share,
        "times": example["seconds"] / ours["seconds"],
        "times_by_processor": example["processor_seconds"] / ours["processor_seconds"],
        "first_loss_apart": first,
        "losses_agree": first < SAME_LOSS,
    }


def _cells(record: dict[str, Any]) -> list[str]:
    ours, example = record["ours"], record["example"]
    return [
        record["model"],
        f"{ours['seconds']:.3f}",
        f"{example['seconds']:.3f}",
        f"{ours['processor_seconds']:.3f}",
        f"{example['processor_seconds']:.3f}",
        f"{100 * record['encoders_share']:.0f}%",
        f"{record['times']:.2f}",
        f"{record['times_by_processor']:.2f}",
        "reached" if record["times"] >= BAR else "not reached",
        f"{record['first_loss_apart']:.1e}" + ("" if record["losses_agree"] else " **NOT EQUAL**"),
    ]


def real_share() -> str:
    """What the encoders of SDXL itself take of a LoRA step at 1,024 pixels, by counted operations (no weights)."""
    from benchmarks.diffusion_operations import sdxl_operations

    counted = sdxl_operations()
    encoders, network = counted["encoders"], counted["network"]
    share = encoders / (encoders + network)
    return (
        f"SDXL's own encoders take {100 * share:.0f}% of the operations of a step at 1,024 pixels (counted on its "
        f"published shapes, without weights), so that there keeping what they make gains at most "
        f"{1 / (1 - share):.2f} times."
    )
