"""SDXL, SD3 and FLUX from run files: what the network is told, the reference, and the result in plain diffusers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from assent.errors import InputError
from assent.likelihood.diffusion import DiffusionPolicy
from assent.likelihood.pipelines import left_out, load_pipeline
from assent.training.run import TrainResult, align
from tests.tiny_diffusion import image_pairs, save_tiny_pipeline

FAMILIES = {"stable_diffusion_xl": "epsilon", "stable_diffusion_3": "flow_matching", "flux": "flow_matching"}
TOLD = {
    "stable_diffusion_xl": {"prompt_embeds": (16, 64), "pooled_embeds": (32,), "time_ids": (6,)},
    "stable_diffusion_3": {"pooled_embeds": (64,), "prompt_embeds": None},
    "flux": {"prompt_embeds": (512, 32), "pooled_embeds": (32,), "guidance": ()},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: save_tiny_pipeline(tmp_path_factory.mktemp(kind), kind) for kind in FAMILIES}


def aligned(model: Path, out: Path, **settings: Any) -> TrainResult:
    training = {
        "use_cpu": True,
        "logging_steps": 1,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": 2,
        "gradient_checkpointing": True,
    }
    diffusion = {
        "samples": 0,
        "resolution": 16,
        "empty_prompt": 0.0,
        "latents": str(out.parent / "latents"),
        **settings.pop("diffusion", {}),
    }
    objective = {"diffusion_dpo": {"beta": 500}}
    return align(model, image_pairs(2), objective, out, training=training, diffusion=diffusion, **settings)


def losses(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def drawn(pipeline: Any) -> Tensor:
    pipeline.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 2, "guidance_scale": 2.0, "height": 16, "width": 16, "output_type": "latent"}
    return torch.as_tensor(pipeline("a red boat", generator=torch.Generator().manual_seed(0), **options).images)


def told_of(policy: DiffusionPolicy, data: Any) -> Mapping[str, Tensor]:
    conditioning: Mapping[str, Tensor] = policy.collate([data])["conditioning"]
    return conditioning


@pytest.mark.parametrize("kind", list(FAMILIES))
def test_an_adapter_of_every_family_trains_and_loads_in_plain_diffusers(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    base, out = folders[kind], tmp_path / "out"
    # One fixed draw: the second step sees the noise of the first, and the loss must fall.
    result = aligned(base, out, peft={"r": 4, "lora_alpha": 8}, diffusion={"noise": {"fixed": 1}})
    assert losses(out)[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses(out)[1] < losses(out)[0] - 1e-4
    assert result.plan is not None
    assert result.plan.reference == "the starting network (its adapter off, errors kept)"
    policy = result.policy
    assert isinstance(policy, DiffusionPolicy)
    assert policy.noising.prediction == FAMILIES[kind]
    trained = [name for name, value in policy.model.named_parameters() if value.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    plain = DiffusionPipeline.from_pretrained(base, **left_out(str(base)))
    before = drawn(plain)
    plain.load_lora_weights(str(result.model_folder))
    after = drawn(plain)
    assert (after - before).abs().max() > 1e-4
    setattr(plain, "transformer" if "transformer" in plain.components else "unet", result.model.merge_and_unload())
    torch.testing.assert_close(drawn(plain), after, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["stable_diffusion_3", "flux"])
def test_a_whole_flow_matching_network_trains_against_a_frozen_copy(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "out"
    result = aligned(
        folders[kind], out, diffusion={"noise": {"fixed": 1}}, reference={"source": "model", "store": "none"}
    )
    assert losses(out)[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses(out)[1] < losses(out)[0] - 1e-4
    assert result.plan is not None
    assert result.plan.reference == "the starting network (a frozen copy, live)"
    saved = load_pipeline(str(result.model_folder), 16)
    mine = dict(result.model.named_parameters())
    assert all(torch.equal(value, mine[name]) for name, value in saved.network.named_parameters())
    start = load_pipeline(str(folders[kind]), 16)
    assert any(not torch.equal(value, mine[name]) for name, value in start.network.named_parameters())


@pytest.mark.parametrize("kind", list(FAMILIES))
def test_each_family_is_told_what_its_text_encoders_and_sizes_say(folders: dict[str, Path], kind: str) -> None:
    loaded = load_pipeline(str(folders[kind]), 16)
    first, second = loaded.prompts.encode(["a red boat", "a dog"])
    assert set(first) == set(TOLD[kind])
    for name, shape in TOLD[kind].items():
        assert shape is None or tuple(first[name].shape) == shape
        if name in ("prompt_embeds", "pooled_embeds"):
            assert not torch.equal(first[name], second[name])
    if kind == "stable_diffusion_xl":
        assert first["time_ids"].tolist() == [16, 16, 0, 0, 16, 16]
        pipeline = loaded.pipeline
        # Both encoders' penultimate layers, side by side; the pooled one is the second encoder's projection.
        ids = pipeline.tokenizer("a red boat", padding="max_length", max_length=16, return_tensors="pt").input_ids
        with torch.no_grad():
            encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
            states = [encoder(ids, output_hidden_states=True) for encoder in encoders]
        expected = torch.cat([state.hidden_states[-2] for state in states], dim=-1)[0]
        torch.testing.assert_close(first["prompt_embeds"], expected)
        torch.testing.assert_close(first["pooled_embeds"], states[1].text_embeds[0])


def test_inversion_of_a_flow_matching_model_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="predicts noise"):
        aligned(folders["stable_diffusion_3"], tmp_path / "out", diffusion={"inversion": {"hops": 2}})
