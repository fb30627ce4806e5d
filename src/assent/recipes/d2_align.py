"""D^2-Align: climbing a reward of pictures and texts without all pictures growing alike.

Chen et al. 2025, arXiv 2512.24146. Who tunes a text-to-image model against CLIP-like rewards gets ever higher scores
on ever more uniform pictures. With prompts and such a reward:

1. The direction: on pictures of the untuned model, one vector of the reward's space is learned that moves texts
   towards them. It holds what the reward favours whatever the prompt, and is kept in `direction.safetensors`.
2. The training: twenty optimizer steps of the reward with that direction taken out. A picture is drawn, noised with a
   noise that is known, taken one step back by the model, and freed of the known noise: that step has the gradient.
3. The measure: prompts before and after, another reward (--scorer) and the variety of tones. The reward that was
   climbed is lower than that of plain climbing, by design: look at everything else.

    assent recipe run d2_align --family flux --data prompts.txt --reward hps --prompts held-out.txt \\
        --scorer pickscore --output d2

`--plain` climbs the reward as it is, for comparison. The paper tunes FLUX.1-dev whole in bfloat16; here an adapter is
trained, which is our choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from assent.config import run_from
from assent.encoding.diffusion import prompt_text
from assent.errors import InputError
from assent.generation.prompt_files import read_prompts
from assent.likelihood.adapters import add_adapter
from assent.likelihood.pipelines import load_pipeline
from assent.preference_models.direction import Direction
from assent.preference_models.image_text import load_image_text
from assent.recipes.diffusion_parts import RESOLUTION, Settings, Story, options, over, story_of
from assent.recipes.diffusion_parts.dry import dry_run
from assent.training.diffusion_plan import diffusion_lora
from assent.training.diffusion_reward import Climb, PipelineReward, climb_pipeline, find_direction
from assent.training.diffusion_saving import save_pipeline

FAMILIES = ("flux", "sd3", "sdxl", "sd15")
PAPER = Climb(steps=20, batch=1, sampler_steps=25, omega=1.5)
STAGE_1_STEPS = 3000
ADAPTER: Settings = {"peft": {"r": 32, "lora_alpha": 32}}
DIRECTION = "direction.safetensors"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is climbed and how.

    Args:
        reward: folder of the model of pictures and texts.
        climb: the paper's numbers.
        stage_1_steps: of learning the direction.
        plain: whether the reward is climbed as it is.
    """

    reward: str
    climb: Climb = PAPER
    stage_1_steps: int = STAGE_1_STEPS
    plain: bool = False


def run(story: Story, plan: Plan) -> Path:
    """The tuned model, and what was measured of it beside it."""
    target = story.output / ("plain" if plan.plain else "aligned") / "model"
    if target.is_dir():
        story.tell("tuned already")
    else:
        _tune(story, plan, target)
    story.measured(target, guidance=3.5 if story.family == "flux" else 1.0, steps=50)
    return target


def _tune(story: Story, plan: Plan, target: Path) -> None:
    values = over({"model": story.model, "objective": "sft", "diffusion": {}, **ADAPTER}, story.settings)
    config = run_from({key: values[key] for key in ("model", "objective", "diffusion", "peft")})
    size = (config.diffusion and config.diffusion.resolution) or RESOLUTION[story.family]
    loaded = load_pipeline(story.model, size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded.pipeline.to(device)
    texts = [prompt_text(prompt, str(story.data)) for prompt in read_prompts(story.data)]
    setting = PipelineReward(loaded, load_image_text(plan.reward).to(device), texts)
    direction = None if plan.plain else _direction(story, plan, setting)
    loaded.network.requires_grad_(False)
    network = add_adapter(loaded.network, diffusion_lora(config))
    rewards = climb_pipeline(
        setting,
        network,
        dataclasses.replace(plan.climb, seed=story.seed),
        direction,
        lambda step, reward: story.tell(f"step {step} of {plan.climb.steps}: reward {reward:+.4f}"),
    )
    story.tell(f"reward {rewards[0]:+.4f} at the first step, {rewards[-1]:+.4f} at the last")
    unfinished = target.with_name("model.unfinished")
    save_pipeline(loaded, network, unfinished)
    unfinished.rename(target)


def _direction(story: Story, plan: Plan, setting: PipelineReward) -> Direction:
    path = story.output / DIRECTION
    if path.is_file():
        found = Direction.load(path)
        story.tell(f"{DIRECTION} is there already")
        return found
    climb = dataclasses.replace(plan.climb, seed=story.seed)

    def told(step: int, loss: float, length: float) -> None:
        if (step + 1) % 500 == 0:
            story.tell(f"direction: step {step + 1}, loss {loss:+.4f}, length {length:.3f}")

    found = find_direction(setting, climb, plan.stage_1_steps, told)
    found.save(path)
    return found


def main(arguments: Sequence[str], dry: bool = False) -> None:
    """Finds the direction, tunes and measures; with `dry` all of it on a tiny pipeline."""
    parser = options("d2_align", "Reward gradients without collapse.", FAMILIES, "prompts")
    parser.add_argument("--reward", help="folder of the model of pictures and texts that is climbed")
    parser.add_argument("--plain", action="store_true", help="climb the reward as it is")
    given = parser.parse_args(list(arguments))
    story = story_of(given)
    if dry:
        dry_run(given, story, partial(_small, plain=given.plain))
        return
    if given.reward is None:
        raise InputError("nothing to climb", field="--reward", expected="folder of a model of pictures and texts")
    print(f"model: {run(story, Plan(given.reward, plain=given.plain))}")


def _small(story: Story, plain: bool) -> Path:
    """The story on a tiny pipeline, whose scorer is what is climbed too."""
    assert story.scorer is not None
    climb = dataclasses.replace(PAPER, steps=2, sampler_steps=3)
    return run(story, Plan(story.scorer, climb, stage_1_steps=20, plain=plain))
