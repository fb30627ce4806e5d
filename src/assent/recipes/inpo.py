"""DDIM-InPO: Diffusion-DPO on the latents that the model itself would pass through, in a fifth of the steps.

Lu et al. 2025, arXiv 2503.18454. Who has pairs of pictures and a model that predicts noise:

1. The data: pairs under one caption, as for Diffusion-DPO.
2. For SD 1.5, supervised training on the winners first; its result is both the start and the reference. SDXL starts
   as it is.
3. The training: each picture is inverted by ten steps of the current model to the drawn timestep, and the DPO loss is
   taken at that latent, against the noise that leads there exactly. 400 steps.
4. The measure: held-out prompts before and after.

    assent recipe run inpo --family sd15 --data pickapic.parquet --prompts parti.txt --scorer pickscore --output inpo

Each step costs up to ten further passes without gradient. Flow-matching models (Stable Diffusion 3, FLUX) have no
such paper, and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assent.errors import InputError
from assent.likelihood.pipelines import is_pipeline
from assent.recipes.diffusion_parts import RESOLUTION, Settings, Story, of_family, options, over, steps_of, story_of
from assent.recipes.diffusion_parts.dry import dry_run

TRAINING: Settings = {
    "diffusion": {"empty_prompt": 0.2, "inversion": {"hops": 10, "eta": 0.1, "mode": "exact"}},
    "training": {
        **steps_of(1024),
        "max_steps": 400,
        "warmup_steps": 200,
        "learning_rate": 1.024e-5,
        "lr_scheduler_type": "constant_with_warmup",
        "max_grad_norm": 1.0,
    },
}
SETTINGS: dict[str, Settings] = {
    "sd15": over(TRAINING, {"diffusion": {"resolution": RESOLUTION["sd15"]}, "training": {"weight_decay": 1e-2}}),
    "sdxl": over(
        TRAINING,
        {
            "diffusion": {"resolution": RESOLUTION["sdxl"]},
            "training": {"optim": "adafactor", "gradient_checkpointing": True},
        },
    ),
}
BETA = {"sd15": 2000.0, "sdxl": 5000.0}


def run(story: Story) -> Path:
    """The aligned model, and what was measured of it beside it."""
    settings = of_family(SETTINGS, story.family, "inpo")
    start = story.model
    if story.family == "sd15":
        # The released script's supervised stage inverts too; plain noise is what supervised training is elsewhere.
        winners = over(settings, {"diffusion": {"inversion": None}})
        supervised = story.trained("winners", "sft", winners)
        if not is_pipeline(str(supervised)):
            raise InputError(
                "the supervised start must be a whole pipeline",
                where=str(supervised),
                field="peft",
                remedy="Leave `peft` out of --settings for this family",
            )
        start = str(supervised)
    aligned = story.trained("aligned", {"diffusion_dpo": {"beta": BETA[story.family]}}, settings, model=start)
    story.measured(aligned, guidance=7.5 if story.family == "sd15" else 5.0, steps=50)
    return aligned


def main(arguments: Sequence[str], dry: bool = False) -> None:
    """Trains and measures; with `dry` all of it on a tiny pipeline."""
    parser = options("inpo", "DPO on inverted latents.", list(SETTINGS), "pairs of pictures")
    given = parser.parse_args(list(arguments))
    if dry:
        dry_run(given, story_of(given), run)
        return
    print(f"model: {run(story_of(given))}")
