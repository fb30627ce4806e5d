"""A recipe run whole, in a minute, on a tiny random pipeline: every step of it, and nothing of what it is worth."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from assent.recipes.diffusion_parts import TINY, Settings, Story, over

CAPTIONS = ("a red boat", "two dogs", "an old house", "a man at dawn")
"""As long as the tiny text encoders read."""
SIZE = 16
QUICK: Settings = {
    "diffusion": {"resolution": SIZE, "samples": 1, "sampler_steps": 2},
    "training": {
        "use_cpu": True,
        "max_steps": 2,
        "save_steps": 2,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "warmup_steps": 0,
    },
}


def dry_run(given: argparse.Namespace, tell: Story, run: Callable[[Story], object]) -> None:
    """Runs a story on a tiny pipeline of the family and random pictures, in a folder that is removed again.

    Args:
        given: the recipe's parsed options.
        tell: the story that would run.
        run: the recipe.
    """
    from assent.recipes.diffusion_parts.tiny import save_tiny_clip, save_tiny_pipeline

    tell.tell(f"would run on {tell.model} with {tell.data}; the same on a tiny random pipeline of its kind:")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_tiny_pipeline(folder / "pipeline", TINY[given.family])
        (folder / "prompts.txt").write_text("a green tree\na boat\n", encoding="utf-8")
        small = dataclasses.replace(
            tell,
            model=str(model),
            data=_pictures(folder / "data"),
            prompts=folder / "prompts.txt",
            scorer=str(save_tiny_clip(folder / "scorer")),
            output=folder / "story",
            sampler_steps=2,
            settings=over(over(tell.settings, QUICK), {"diffusion": {"latents": str(folder / "latents")}}),
        )
        run(small)
    tell.tell("dry run: every step ran; its numbers mean nothing")


def _pictures(folder: Path) -> Path:
    """Pairs of random pictures under captions: rows of caption, chosen and rejected, and image for the chosen one."""
    folder.mkdir(parents=True)
    draw, rows = np.random.default_rng(0), []
    for number, caption in enumerate(CAPTIONS):
        names = [f"{number}-{side}.png" for side in ("a", "b")]
        for name in names:
            Image.fromarray(draw.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(folder / name)
        rows.append({"caption": caption, "chosen": names[0], "rejected": names[1]})
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
