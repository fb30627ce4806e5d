"""SPO from a run file: a tiny model learns what a judge of its own sampler steps prefers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from torch import Tensor

from assent.config import load_run, run_from
from assent.errors import InputError
from assent.generation.diffusion import sample, seeded_noise
from assent.training.run import TrainResult, train
from tests.tiny_diffusion import save_tiny_pipeline

JUDGE = """
def bright(pixels, prompts, timesteps):
    assert pixels.shape[0] == len(prompts) == len(timesteps)
    return 60 * pixels.flatten(1).mean(1)
"""


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pipeline(tmp_path_factory.mktemp("ddpm"), "ddpm")


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "step_judges.py").write_text(JUDGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "step_judges:bright"


def run_file(folder: Path, model: Path, judge: str, **rollout: Any) -> Path:
    (folder / "prompts.txt").write_text("0\n1\n2\n1\n")
    options = {"judge": judge, "steps": 5, "first": 1, "candidates": 3, "threshold": 0.1, **rollout}
    values = {
        "model": str(model),
        "data": str(folder / "prompts.txt"),
        "objective": {"step_aware": {"beta": 10, "clip": 0.2}},
        "diffusion": {"samples": 2, "sampler_steps": 3, "latents": str(folder / "latents"), "rollout": options},
        "training": {
            "output_dir": str(folder / "out"),
            "use_cpu": True,
            "max_steps": 8,
            "learning_rate": 6e-3,
            "lr_scheduler_type": "constant",
            "per_device_train_batch_size": 3,
            "logging_steps": 1,
            "save_steps": 6,
        },
    }
    path = folder / "run.yaml"
    path.write_text(json.dumps(values))
    return path


def brightness(model: Any) -> Tensor:
    scheduler = DDIMScheduler(clip_sample=False)
    told = {"class_labels": torch.tensor([0, 1, 2] * 4)}
    model.eval()
    return sample(model, scheduler, told, seeded_noise((1, 8, 8), range(12)), 4).flatten(1).mean(1)


def test_a_judged_sampler_raises_what_the_judge_likes(classes: Path, tmp_path: Path, judge: str) -> None:
    result = train(load_run(run_file(tmp_path, classes, judge), []))
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert rows[0]["rollout/decided"] > 0.5
    assert rows[0]["rollout/clipped"] == 0
    assert rows[0]["rollout/pairs"] == rows[0]["num_comparisons"]
    scores = [row["rollout/score"] for row in rows if "rollout/score" in row]
    assert sum(scores[-3:]) > sum(scores[:3])
    before = brightness(DiffusionPipeline.from_pretrained(classes).unet)
    after = brightness(DiffusionPipeline.from_pretrained(result.model_folder).unet)
    assert (after - before).mean() > 3 * (after - before).std() / 12**0.5
    assert (tmp_path / "out" / "pictures" / "after.png").is_file()
    assert json.loads((tmp_path / "out" / "pictures" / "prompts.json").read_text()) == ["0", "1"]


def test_rollouts_resume_to_the_same_weights(classes: Path, tmp_path: Path, judge: str) -> None:
    def run(name: str, steps: int, **more: Any) -> TrainResult:
        path = run_file(tmp_path, classes, judge)
        folder = f"training.output_dir={tmp_path / name}"
        return train(load_run(path, [folder, f"training.max_steps={steps}", "training.save_steps=1"]), **more)

    whole = run("whole", 2)
    run("cut", 1)
    resumed = run("cut", 2, resume=True)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_text_model_is_trained_under_guidance_with_its_adapter_off_as_reference(tmp_path: Path, judge: str) -> None:
    model = save_tiny_pipeline(tmp_path / "model", "stable_diffusion")
    (tmp_path / "prompts.jsonl").write_text('{"caption": "a red boat"}\n{"caption": "a dog"}\n')
    values = json.loads(run_file(tmp_path, model, judge, steps=4, candidates=2, threshold=0.0).read_text())
    values["data"] = str(tmp_path / "prompts.jsonl")
    values["peft"] = {"r": 2}
    values["diffusion"] |= {"resolution": 16, "samples": 0}
    values["training"] |= {"max_steps": 1, "per_device_train_batch_size": 2}
    result = train(run_from(values))
    rows = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert result.policy.guidance == 5.0
    assert (result.model_folder / "pytorch_lora_weights.safetensors").is_file()


def test_what_does_not_fit_is_said_before_anything_is_loaded(classes: Path, tmp_path: Path, judge: str) -> None:
    path = run_file(tmp_path, classes, judge)
    plan = train(load_run(path, []), dry_run=True).plan
    assert plan is not None
    assert plan.rows == 3 * (1 + 3 * 3 + 1) * 2
    for override, message in (
        ("objective=diffusion_dpo", "sampler steps"),
        ("diffusion.rollout=null", "sampler steps"),
        ("diffusion.rollout.first=4", "no step of the sampler"),
        ("diffusion.rollout.judge=step_judges:nobody", "cannot import"),
        ("data.eval.split=0.1", "not available"),
    ):
        with pytest.raises(InputError, match=message):
            train(load_run(path, [override]), dry_run=True)
    with pytest.raises(InputError, match="pictures and texts"):
        train(load_run(path, [f"diffusion.rollout.judge={tmp_path}", "diffusion.samples=0"]))
