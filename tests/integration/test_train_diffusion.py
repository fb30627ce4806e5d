"""Diffusion pipelines aligned from run files, and what plain diffusers makes of the result."""

from __future__ import annotations

import gc
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DConditionModel
from PIL import Image

from assent.config import run_from
from assent.errors import InputError
from assent.training import Given, TrainResult, align, train
from tests.tiny import tiny_comparisons
from tests.tiny_diffusion import image_pairs, save_tiny_pipeline

QUICK = {"use_cpu": True, "logging_steps": 1, "max_steps": 2, "learning_rate": 1e-2, "lr_scheduler_type": "constant"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    kinds = ("stable_diffusion_xl", "stable_diffusion", "ddpm")
    return {kind: save_tiny_pipeline(tmp_path_factory.mktemp(kind), kind) for kind in kinds}


def aligned(model: Path, out: Path, objective: Any = "diffusion_dpo", **settings: Any) -> TrainResult:
    given = {"samples": 0, "resolution": 16, "latents": str(out.parent / "latents"), **settings.pop("diffusion", {})}
    training = {**QUICK, **settings.pop("training", {})}
    return align(model, image_pairs(4), objective, out, training=training, diffusion=given, **settings)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def drawn(pipeline: Any) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    options = {"num_inference_steps": 3, "guidance_scale": 2.0, "height": 16, "width": 16, "output_type": "latent"}
    return torch.as_tensor(pipeline("a red boat", latents=start, **options).images)


def test_an_adapter_trained_here_loads_in_plain_diffusers(folders: dict[str, Path], tmp_path: Path) -> None:
    base = folders["stable_diffusion_xl"]
    # An alpha other than the rank: diffusers must be told the scale.
    result = aligned(
        base, tmp_path / "out", peft={"r": 4, "lora_alpha": 16}, diffusion={"samples": 2, "sampler_steps": 2}
    )
    assert rows(tmp_path / "out")[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    plain = DiffusionPipeline.from_pretrained(base)
    before = drawn(plain)
    plain.load_lora_weights(str(result.model_folder))
    after = drawn(plain)
    assert (after - before).abs().max() > 1e-3
    plain.unload_lora_weights()
    assert torch.equal(drawn(plain), before)
    plain.unet = result.model
    torch.testing.assert_close(drawn(plain), after, atol=1e-5, rtol=1e-5)
    for name in ("before", "after"):
        with Image.open(tmp_path / "out" / "pictures" / f"{name}.png") as drawn_before_or_after:
            assert drawn_before_or_after.size == (32, 16)


def test_a_whole_network_is_saved_as_a_pipeline(folders: dict[str, Path], tmp_path: Path) -> None:
    base = folders["stable_diffusion"]
    result = aligned(base, tmp_path / "out", {"diffusion_dpo": {"beta": 100}}, diffusion={"empty_prompt": 0.5})
    assert rows(tmp_path / "out")[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    saved = DiffusionPipeline.from_pretrained(result.model_folder)
    mine = dict(result.model.named_parameters())
    assert all(torch.equal(value, mine[name]) for name, value in saved.unet.named_parameters())
    start = DiffusionPipeline.from_pretrained(base)
    assert any(not torch.equal(value, mine[name]) for name, value in start.unet.named_parameters())
    assert torch.equal(
        start.vae.state_dict()["encoder.conv_in.weight"], saved.vae.state_dict()["encoder.conv_in.weight"]
    )
    # Another run of the same data encodes nothing.
    aligned(base, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "data.json").read_text())["encoded"] == 0


def test_mapo_holds_no_second_network(folders: dict[str, Path], tmp_path: Path) -> None:
    def networks() -> int:
        gc.collect()
        return sum(type(one) is UNet2DConditionModel for one in gc.get_objects())

    already = networks()
    with_reference = aligned(folders["stable_diffusion"], tmp_path / "dpo", training={"max_steps": 1})
    assert with_reference.plan is not None
    assert with_reference.plan.memory["reference"] > 0
    del with_reference
    gc.collect()
    seen: list[int] = []
    result = align(
        folders["stable_diffusion"],
        image_pairs(2),
        "mapo",
        tmp_path / "mapo",
        training={**QUICK, "max_steps": 1},
        diffusion={"samples": 0, "resolution": 16, "latents": str(tmp_path / "latents")},
        on_event=lambda event: seen.append(networks()),
    )
    assert max(seen) - already <= 1
    assert result.plan is not None
    assert result.plan.memory["reference"] == 0


def test_a_resumed_run_ends_at_the_same_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    pairs = [type(pair)("1", pair.candidates) for pair in image_pairs(4, size=8)]
    shared: dict[str, Any] = {
        "model": str(folders["ddpm"]),
        "objective": "diffusion_dpo",
        "diffusion": {"samples": 1, "sampler_steps": 2, "latents": str(tmp_path / "l")},
    }

    def run(name: str, steps: int, **more: Any) -> TrainResult:
        training = {
            **QUICK,
            "max_steps": steps,
            "save_steps": 2,
            "per_device_train_batch_size": 2,
            "output_dir": str(tmp_path / name),
        }
        return train(run_from({**shared, "training": training}), given=Given(pairs), **more)

    whole = run("whole", 4)
    run("cut", 2)
    resumed = run("cut", 4, resume=True)
    assert resumed.steps == 4
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_dry_run_checks_pictures_and_settings_and_loads_no_weights(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    empty = save_tiny_pipeline(tmp_path / "empty", "ddpm")
    for weights in empty.rglob("*.safetensors"):
        weights.unlink()
    pairs = [type(pair)("1", pair.candidates) for pair in image_pairs(4, size=8)]
    values: dict[str, Any] = {
        "model": str(empty),
        "objective": "diffusion_dpo",
        "training": {"output_dir": str(tmp_path / "o"), "use_cpu": True},
    }
    plan = train(run_from(values), dry_run=True, given=Given(pairs)).plan
    assert plan is not None
    assert plan.parameters == sum(
        p.numel() for p in DiffusionPipeline.from_pretrained(folders["ddpm"]).unet.parameters()
    )
    assert not (tmp_path / "o").exists()
    with pytest.raises(InputError, match="fresh noise"):
        train(run_from({**values, "reference": {"source": "model", "store": "x"}}), dry_run=True, given=Given(pairs))
    section = {"noise": {"fixed": 2}, "latents": {"cache": 3}}
    with pytest.raises(InputError, match="one cut of a picture"):
        train(run_from({**values, "diffusion": section}), dry_run=True, given=Given(pairs))
    plan = train(run_from({**values, "diffusion": {"noise": {"fixed": 2}}}), dry_run=True, given=Given(pairs)).plan
    assert plan is not None
    assert plan.reference == "the starting network (a frozen copy, errors kept)"
    with pytest.raises(InputError, match="not available for diffusion"):
        train(run_from({**values, "model": {"path": str(empty), "adapter": "x"}}), dry_run=True, given=Given(pairs))
    with pytest.raises(InputError, match="aligned on pictures"):
        train(run_from(values), dry_run=True, given=Given(tiny_comparisons(2)))
