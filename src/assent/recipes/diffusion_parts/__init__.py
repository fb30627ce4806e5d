"""What the recipes of diffusion papers share: options, runs that are done once, pictures before and after."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assent.config import run_from
from assent.errors import InputError
from assent.recipes.loop_parts import settings_of
from assent.training import train
from assent.training.run_folder import MODEL

Tell = Callable[[str], None]
Settings = Mapping[str, Any]
"""Keys of a run file."""

MODELS = {
    "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "sd3": "stabilityai/stable-diffusion-3.5-medium",
    "flux": "black-forest-labs/FLUX.1-dev",
}
"""What a family starts from where nobody names a model."""
TINY = {"sd15": "stable_diffusion", "sdxl": "stable_diffusion_xl", "sd3": "stable_diffusion_3", "flux": "flux"}
"""The tiny pipeline that stands for a family in a dry run."""
RESOLUTION = {"sd15": 512, "sdxl": 1024, "sd3": 1024, "flux": 720}


@dataclass(frozen=True)
class Story:
    """Where a recipe works, on what, and how its training runs are set.

    Args:
        family: sd15, sdxl, sd3 or flux.
        model: folder or hub name of the pipeline.
        data: pairs, captioned pictures or prompts, as the recipe says.
        prompts: file of prompts to draw before and after; None: nothing is measured.
        scorer: folder of a model of pictures and texts that judges these; None: they are drawn and not judged.
        output: of the whole story; every step leaves a file there and is not done twice.
        settings: keys of a run file that go over the paper's.
        seed: of everything drawn.
        samples: pictures of each prompt.
        sampler_steps: for these pictures; None: the paper's.
        tell: is told each step.
    """

    family: str
    model: str
    data: Path
    prompts: Path | None
    scorer: str | None
    output: Path
    settings: Settings = field(default_factory=dict)
    seed: int = 0
    samples: int = 1
    sampler_steps: int | None = None
    tell: Tell = print

    def trained(self, name: str, objective: Any, settings: Settings, **more: Any) -> Path:
        """The model folder of a training run; gone on with where it was interrupted.

        Args:
            name: of its folder.
            objective: as in a run file.
            settings: the paper's.
            more: further keys, such as `model`, `reference` or `data`.
        """
        folder = self.output / name
        # The model's card is the last thing that a run writes.
        if (folder / MODEL / "README.md").is_file():
            self.tell(f"{name} is trained already")
            return folder / MODEL
        values = over({"model": self.model, "data": {"train": str(self.data)}, "objective": objective}, settings)
        values = over(over(values, more), self.settings)
        values["training"] = {**values.get("training", {}), "output_dir": str(folder)}
        values.setdefault("seed", self.seed)
        result = train(run_from(values), resume=folder.exists(), on_event=self._event)
        shown = {key: result.metrics[key] for key in ("loss", "rewards/accuracies") if key in result.metrics}
        self.tell(f"{name}: {result.steps} steps {json.dumps(shown)}")
        return result.model_folder

    def measured(self, aligned: Path, guidance: float, steps: int) -> dict[str, Any] | None:
        """Pictures of the held-out prompts from the start and from the result, same seeds, and what a scorer says."""
        if self.prompts is None:
            self.tell("no --prompts: nothing is drawn and measured")
            return None
        from assent.recipes.diffusion_parts.drawing import Sampler, draw_folder, judged

        size = (self.settings.get("diffusion") or {}).get("resolution") or RESOLUTION[self.family]
        sampler = Sampler(size, guidance, self.sampler_steps or steps, self.samples, self.seed)
        folders = [self.output / "before", self.output / "after"]
        draw_folder(self.model, None, self.prompts, folders[0], sampler, self.tell)
        draw_folder(self.model, aligned, self.prompts, folders[1], sampler, self.tell)
        found = judged(self.scorer, folders[0], folders[1])
        (self.output / "measures.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
        self.tell(json.dumps(found))
        return found

    def _event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "stage":
            self.tell(event["text"])


def over(below: Settings, above: Settings) -> dict[str, Any]:
    """The keys of both, mappings merged, `above` deciding where both say something."""
    merged = dict(below)
    for key, value in above.items():
        mine = merged.get(key)
        merged[key] = over(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return merged


def steps_of(pairs: int, at_once: int = 1) -> dict[str, int]:
    """The batch arguments of a step of so many pairs over all ranks, so many held at once on each."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    return {
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": max(1, pairs // (at_once * ranks)),
    }


def of_family(settings: Mapping[str, Settings], family: str, recipe: str) -> Settings:
    """A paper's settings for a family; an InputError where the method is not defined for it."""
    if family not in settings:
        raise InputError(
            f"{recipe} is not defined for this family", field="--family", found=family, expected=", ".join(settings)
        )
    return settings[family]


def options(recipe: str, about: str, families: Sequence[str], data: str) -> argparse.ArgumentParser:
    """The options that every one of these recipes takes."""
    parser = argparse.ArgumentParser(prog=f"assent recipe run {recipe}", description=about)
    parser.add_argument("--family", choices=list(families), default=families[0])
    parser.add_argument("--model", help="folder or hub name of the pipeline; default: the family's usual start")
    parser.add_argument("--data", required=True, type=Path, help=data)
    parser.add_argument("--prompts", type=Path, help="held-out prompts, drawn before and after from the same seeds")
    parser.add_argument("--scorer", help="folder of a model of pictures and texts (PickScore, CLIP) that judges them")
    parser.add_argument("--output", required=True, type=Path, help="folder of the whole story")
    parser.add_argument("--settings", help="YAML with keys of a run file that go over the paper's")
    parser.add_argument("--samples", type=int, default=1, help="pictures of each prompt")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def story_of(given: argparse.Namespace, tell: Tell = print) -> Story:
    """The story of parsed options."""
    if given.samples < 1:
        raise InputError("at least one picture of each prompt", field="--samples", found=str(given.samples))
    return Story(
        family=given.family,
        model=given.model or MODELS[given.family],
        data=given.data,
        prompts=given.prompts,
        scorer=given.scorer,
        output=given.output,
        settings=settings_of(given.settings),
        seed=given.seed,
        samples=given.samples,
        tell=tell,
    )
