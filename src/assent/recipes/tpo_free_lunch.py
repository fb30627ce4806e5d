"""TPO: a text-to-image model learns to follow prompts from pictures with captions, without any pair of pictures.

Xian, Li et al. 2025, arXiv 2509.25771. Who has pictures with good captions, and no preferences:

1. The data: each caption is edited so that it is false for its picture (another thing, colour, place, weather), by
   rules or, with --editor, by a language model. Edits that change nothing, or everything, are refused and counted.
2. The training: the picture must be explained better under its own caption than under the edited one, same timestep
   and noise (tdpo), or each caption by itself as liked or disliked (tkto). The edited caption's error stops counting
   once it is well above the reference's: else the model would only get worse at it.
3. The measure: held-out prompts before and after. A scorer that reads text with the trained model's own encoder
   flatters the method; prefer another one.

    assent recipe run tpo_free_lunch --data captions.jsonl --prompts prompts.txt --scorer pickscore --output tpo

Published for SD 1.5 alone, without settings: learning rate and steps are Diffusion-DPO's, the clip is ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from assent.building.caption_edits import Editor, ModelEditor, RuleEditor, edit_captions
from assent.readers import read, write_jsonl
from assent.recipes.diffusion_parts import RESOLUTION, Settings, Story, of_family, options, over, steps_of, story_of
from assent.recipes.diffusion_parts.dry import dry_run

Variant = Literal["tdpo", "tkto"]
TRAINING: Settings = {
    "diffusion": {"empty_prompt": 0.1},
    "training": {
        **steps_of(2048),
        "max_steps": 1000,
        "warmup_steps": 200,
        "learning_rate": 2.048e-5,
        "lr_scheduler_type": "constant_with_warmup",
        "weight_decay": 1e-2,
        "max_grad_norm": 1.0,
    },
}
SETTINGS: dict[str, Settings] = {
    family: over(TRAINING, {"diffusion": {"resolution": RESOLUTION[family]}}) for family in ("sd15", "sdxl", "sd3")
}


def run(story: Story, variant: Variant = "tkto", editor: Editor | None = None) -> Path:
    """The aligned model, and what was measured of it beside it."""
    captions = edited(story, variant, editor or RuleEditor(story.seed))
    objective = {"tpo_free_lunch": {"variant": variant, "beta": 2000, "negative_clip": 0.01}}
    told = dataclasses.replace(story, data=captions)
    aligned = told.trained("aligned", objective, of_family(SETTINGS, story.family, "tpo_free_lunch"))
    story.measured(aligned, guidance=7.5, steps=50)
    return aligned


def edited(story: Story, variant: Variant, editor: Editor) -> Path:
    """The file of captions against edited ones; made once."""
    path = story.output / f"captions-{variant}.jsonl"
    if path.is_file():
        story.tell(f"{path.name} is there already")
        return path
    built = edit_captions(read(str(story.data)).comparisons, editor, "pairs" if variant == "tdpo" else "labels")
    story.output.mkdir(parents=True, exist_ok=True)
    write_jsonl(built.comparisons, path)
    story.tell(f"{path.name}: {built.summary()}")
    return path


def main(arguments: Sequence[str], dry: bool = False) -> None:
    """Edits, trains and measures; with `dry` all of it on a tiny pipeline."""
    parser = options("tpo_free_lunch", "Preferences between captions.", list(SETTINGS), "pictures with captions")
    parser.add_argument("--variant", choices=["tdpo", "tkto"], default="tkto", help="pairs or single captions")
    parser.add_argument("--editor", help="folder of a language model that edits captions; default: rules")
    given = parser.parse_args(list(arguments))
    story = story_of(given)
    if dry:
        dry_run(given, story, partial(run, variant=given.variant))
        return
    print(f"model: {run(story, given.variant, _editor(given.editor))}")


def _editor(folder: str | None) -> Editor | None:
    if folder is None:
        return None
    from assent.generation import LocalGenerator
    from assent.likelihood.loading import load_causal_lm

    return ModelEditor(LocalGenerator(*load_causal_lm(folder), name=folder))
