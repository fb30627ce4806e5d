"""MaPO: a text-to-image model moves to what it does not draw today, without a reference that holds it back.

Hong et al. 2024, arXiv 2406.06424. For a new style, a person, a culture or safety: the pictures one wants are unlike
those the model draws, and a frozen reference (Diffusion-DPO) resists them.

1. The data: pairs under one caption; for a style, chosen pictures drawn with the style's words in the prompt,
   rejected ones without, both under the caption without them.
2. The training: denoise the winner, plus a margin of bounded scores between winner and loser. One network, one pass
   over both: no second model in memory, about 15% less time than with a reference.
3. The measure: the same prompts before and after, and the reward of a model of pictures and texts; watch the variety
   too, since nothing anchors a long run.

    assent recipe run mapo --family sdxl --data pairs.jsonl --prompts prompts.txt --scorer clip --output mapo-sdxl

Published for SDXL. The same loss on SD 1.5 has the same scale of errors; for Stable Diffusion 3 the velocity's error
takes the noise's place, which is our reading: look at the margin of the first steps, which should be of order one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assent.recipes.diffusion_parts import RESOLUTION, Settings, Story, of_family, options, steps_of, story_of
from assent.recipes.diffusion_parts.dry import dry_run

OBJECTIVE = {"mapo": {"beta": 0.1, "snr": 0.5, "timesteps": 1000}}


def _settings(resolution: int) -> Settings:
    """The released command: adapters of rank 8, 16 pairs a step, no captions emptied, a constant learning rate."""
    return {
        "diffusion": {"resolution": resolution, "empty_prompt": 0.0},
        "peft": {"r": 8, "lora_alpha": 8, "init_lora_weights": "gaussian"},
        "training": {
            **steps_of(16, at_once=8),
            "max_steps": 2000,
            "learning_rate": 1e-5,
            "lr_scheduler_type": "constant",
            "weight_decay": 1e-2,
            "max_grad_norm": 1.0,
        },
    }


SETTINGS: dict[str, Settings] = {family: _settings(RESOLUTION[family]) for family in ("sdxl", "sd15", "sd3")}


def run(story: Story) -> Path:
    """The aligned model, and what was measured of it beside it."""
    aligned = story.trained("aligned", OBJECTIVE, of_family(SETTINGS, story.family, "mapo"))
    story.measured(aligned, guidance=5.0, steps=30)
    return aligned


def main(arguments: Sequence[str], dry: bool = False) -> None:
    """Trains and measures; with `dry` all of it on a tiny pipeline."""
    parser = options("mapo", "Preferences without a reference.", list(SETTINGS), "pairs of pictures")
    given = parser.parse_args(list(arguments))
    if dry:
        dry_run(given, story_of(given), run)
        return
    print(f"model: {run(story_of(given))}")
