"""Recipes of diffusion papers, run whole on tiny pipelines: data, training, pictures before and after, measures."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from assent.errors import InputError
from assent.preference_models.direction import Direction
from assent.recipes.d2_align import Plan
from assent.recipes.d2_align import run as d2_align
from assent.recipes.diffusion_parts import Story, of_family, over, story_of
from assent.recipes.diffusion_parts.dry import QUICK
from assent.training.diffusion_reward import Climb
from assent.training.reward_gradient import Optimisation
from tests.tiny_diffusion import save_tiny_clip, save_tiny_pipeline

FAMILY = {"diffusion_dpo": "sdxl", "mapo": "sd3", "tpo_free_lunch": "sd15", "inpo": "sd15", "d2_align": "flux"}


@pytest.mark.parametrize("recipe", list(FAMILY))
def test_a_dry_run_runs_every_step(recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"assent.recipes.{recipe}")
    arguments = ["--family", FAMILY[recipe], "--data", "none.jsonl", "--output", str(tmp_path / "out")]
    module.main(arguments, dry=True)
    said = capsys.readouterr().out
    assert "before: 2 of 2 prompts drawn" in said
    assert "after: 2 of 2 prompts drawn" in said
    measures = json.loads(next(line for line in said.splitlines() if line.startswith('{"pictures"')))
    assert set(measures) == {"pictures", "tonal_variety", "reward_gain", "share_of_wins"}
    assert "dry run: every step ran" in said
    assert not (tmp_path / "out").exists()


def test_settings_go_over_the_papers_key_by_key(tmp_path: Path) -> None:
    from assent.recipes import diffusion_dpo, mapo

    sdxl = over(diffusion_dpo.SETTINGS["sdxl"], {"training": {"max_steps": 7}})
    assert sdxl["training"]["max_steps"] == 7
    assert sdxl["training"]["optim"] == "adafactor"
    assert sdxl["training"]["gradient_accumulation_steps"] == 2048
    assert diffusion_dpo.SETTINGS["sdxl"]["training"]["max_steps"] == 2000
    assert mapo.SETTINGS["sdxl"]["diffusion"]["empty_prompt"] == 0
    with pytest.raises(InputError, match="not defined"):
        of_family(diffusion_dpo.SETTINGS, "flux", "diffusion_dpo")


def test_a_story_goes_on_where_it_was(tmp_path: Path) -> None:
    said: list[str] = []
    quick = over(QUICK, {"diffusion": {"latents": str(tmp_path / "latents")}})
    story = Story(
        family="sd15",
        model=str(save_tiny_pipeline(tmp_path / "model", "stable_diffusion")),
        data=_prompts(tmp_path / "data.txt", "a red boat", "two dogs", "a tree"),
        prompts=_prompts(tmp_path / "prompts.txt", "a house"),
        scorer=None,
        output=tmp_path / "story",
        settings=quick,
        samples=2,
        tell=said.append,
    )
    steep = Climb(steps=2, batch=2, sampler_steps=2, optimisation=Optimisation(1e-3, 0.1))
    plan = Plan(str(save_tiny_clip(tmp_path / "clip")), steep, stage_1_steps=30)
    model = d2_align(story, plan)
    assert (model / "pytorch_lora_weights.safetensors").is_file()
    direction = Direction.load(tmp_path / "story" / "direction.safetensors")
    assert direction.vector.norm() > 0.05
    assert direction.omega == 1.5
    assert len(list((tmp_path / "story" / "after").glob("*.png"))) == 2
    said.clear()
    assert d2_align(story, plan) == model
    assert {"tuned already", "before: drawn already", "after: drawn already"} <= set(said)
    other = save_tiny_clip(tmp_path / "other", seed=1)
    (tmp_path / "story" / "aligned").rename(tmp_path / "moved")
    with pytest.raises(InputError, match="reward model it was learned in"):
        d2_align(story, Plan(str(other), steep, stage_1_steps=30))
    (tmp_path / "story" / "direction.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="not a learned direction"):
        d2_align(story, plan)


def test_impossible_options_are_named() -> None:
    from assent.recipes.diffusion_parts import options

    parser = options("x", "y", ["sd15"], "z")
    given = parser.parse_args(["--data", "d", "--output", "o", "--samples", "0"])
    with pytest.raises(InputError, match="at least one picture"):
        story_of(given)


def test_climbing_raises_the_reward_of_pictures(tmp_path: Path) -> None:
    """With an ascent of a few steep steps; the same prompts and noise before and after, over sixteen pictures."""
    from assent.likelihood.adapters import add_adapter
    from assent.likelihood.pipelines import load_pipeline
    from assent.preference_models.image_text import load_image_text
    from assent.training.diffusion_reward import PipelineReward, climb_pipeline

    torch.manual_seed(0)
    loaded: Any = load_pipeline(str(save_tiny_pipeline(tmp_path / "model", "stable_diffusion")), 16)
    setting = PipelineReward(loaded, load_image_text(save_tiny_clip(tmp_path / "clip")), ["a boat", "a dog"])
    from peft import LoraConfig

    loaded.network.requires_grad_(False)
    network = add_adapter(loaded.network, LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    how = Climb(steps=12, batch=2, sampler_steps=2, stride=300, optimisation=Optimisation(2e-2, 1.0))

    def reward() -> float:
        told = setting.batch([0, 1] * 8)
        latents = setting.drawn(network, told, torch.Generator().manual_seed(0), 4)
        with torch.no_grad():
            return float((setting.embed(latents) * told["reward_text"]).sum(dim=-1).mean())

    before = reward()
    climb_pipeline(setting, network, how)
    assert reward() > before


def _prompts(path: Path, *texts: str) -> Path:
    path.write_text("".join(f"{text}\n" for text in texts))
    return path
