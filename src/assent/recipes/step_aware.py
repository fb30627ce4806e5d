"""SPO: a text-to-image model learns, step by step of its own sampler, what a step-aware judge prefers.

Liang et al. 2024, arXiv 2406.04314. Who has pairs of pictures to train a judge on, and prompts:

1. The judge: a model of pictures and texts (PickScore, CLIP) is told the timestep and learns from pairs that were
   noised and denoised in one step, since that is what it will be shown. Without --pairs the judge is taken as it is.
2. The training: the model samples; at each step a few next states are tried, the judge compares the pictures they
   lead to, and the better of the best and the worst gets likelier. Only prompts are needed.
3. The measure: held-out prompts before and after.

    assent recipe run step_aware --family sd15 --judge pickscore --pairs pickapic.parquet --data prompts.txt \\
        --prompts held-out.txt --scorer clip --output spo

Steps whose candidates differ little teach nothing: watch `rollout/decided`, and `rollout/clipped`, the share of steps
that have moved as far as they may. The judge's learning rate and steps are ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from assent.encoding.diffusion import DiffusionComparisons, Encoders
from assent.errors import InputError
from assent.likelihood.pipelines import load_pipeline
from assent.likelihood.stored_reference import default_store
from assent.preference_models.image_text import load_image_text
from assent.readers import read
from assent.recipes.diffusion_parts import RESOLUTION, Settings, Story, of_family, options, over, steps_of, story_of
from assent.recipes.diffusion_parts.dry import dry_run
from assent.training.diffusion_judge import JudgeTraining, train_step_judge
from assent.work.store import ArrayStore


def _settings(family: str, rank: int, rollout: Settings, learning_rate: float) -> Settings:
    shared = {"steps": 20, "guidance": 5.0, "eta": 1.0, "first": 4}
    return {
        "diffusion": {"resolution": RESOLUTION[family], "rollout": {**shared, **rollout}},
        "peft": {"r": rank, "lora_alpha": rank},
        "training": {
            **steps_of(8),
            # Ten passes over 4,000 prompts.
            "max_steps": 5000,
            "learning_rate": learning_rate,
            "lr_scheduler_type": "constant",
            "weight_decay": 1e-4,
        },
    }


SETTINGS: dict[str, Settings] = {
    "sd15": _settings("sd15", 4, {"candidates": 4, "threshold": 0.3}, 6e-5),
    "sdxl": _settings("sdxl", 64, {"candidates": 2, "threshold": 0.4}, 1e-5),
}
OBJECTIVE = {"step_aware": {"beta": 10.0, "clip": 0.1}}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Who judges.

    Args:
        judge: folder of a model of pictures and texts.
        pairs: pictures to make it step-aware with; None: it is taken as it is.
        training: of the judge.
    """

    judge: str
    pairs: Path | None = None
    training: JudgeTraining = dataclasses.field(default_factory=JudgeTraining)


def run(story: Story, plan: Plan) -> Path:
    """The aligned model, and what was measured of it beside it."""
    judge = plan.judge if plan.pairs is None else str(step_judge(story, plan))
    settings = over(of_family(SETTINGS, story.family, "step_aware"), {"diffusion": {"rollout": {"judge": judge}}})
    aligned = story.trained("aligned", OBJECTIVE, settings)
    story.measured(aligned, guidance=7.5 if story.family == "sd15" else 5.0, steps=20)
    return aligned


def step_judge(story: Story, plan: Plan) -> Path:
    """The folder of the judge that is told the timestep; trained once."""
    folder = story.output / "judge"
    if folder.is_dir():
        story.tell("the judge is trained already")
        return folder
    section = story.settings.get("diffusion") or {}
    loaded = load_pipeline(story.model, section.get("resolution") or RESOLUTION[story.family])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded.pipeline.to(device)
    judge = load_image_text(plan.judge, step_aware=True).to(device)
    kept = Path(section.get("latents") or default_store().parent / "latents")
    pairs = [one for one in read(str(plan.pairs)).comparisons if len(one.candidates) == 2]
    story.tell(f"the judge learns from {len(pairs):,} pairs")
    data = DiffusionComparisons(pairs, Encoders(loaded.images, loaded.prompts, ArrayStore(kept)))

    def told(step: int, steps: int, loss: float) -> None:
        if step % 50 == 0 or step == steps:
            story.tell(f"judge: step {step} of {steps}, loss {loss:.4f}")

    train_step_judge(loaded, judge, data, dataclasses.replace(plan.training, seed=story.seed), told)
    unfinished = folder.with_name("judge.unfinished")
    judge.save(unfinished)
    unfinished.rename(folder)
    return folder


def main(arguments: Sequence[str], dry: bool = False) -> None:
    """Trains the judge, aligns and measures; with `dry` all of it on a tiny pipeline."""
    parser = options("step_aware", "Preferences between sampler steps.", list(SETTINGS), "prompts")
    parser.add_argument("--judge", help="folder of a model of pictures and texts")
    parser.add_argument("--pairs", type=Path, help="pairs of pictures to make the judge step-aware with")
    given = parser.parse_args(list(arguments))
    story = story_of(given)
    if dry:
        dry_run(given, story, _small)
        return
    if given.judge is None:
        raise InputError("nobody judges", field="--judge", expected="folder of a model of pictures and texts")
    print(f"model: {run(story, Plan(given.judge, given.pairs))}")


def _small(story: Story) -> Path:
    """The story on a tiny pipeline: its pairs make the judge, their captions are the prompts."""
    assert story.scorer is not None
    rollout = {"steps": 4, "first": 1, "candidates": 2, "threshold": 0.0}
    small = dataclasses.replace(story, settings=over(story.settings, {"diffusion": {"rollout": rollout}}))
    return run(small, Plan(story.scorer, story.data, JudgeTraining(steps=2, pairs=2)))
