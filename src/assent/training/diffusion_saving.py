"""A trained network back into a folder that plain diffusers loads, and pictures drawn from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from assent.config import DiffusionConfig
from assent.encoding.diffusion import LATENTS, VARIANTS, DiffusionComparisons, prompt_text
from assent.encoding.diffusion_prompts import DiffusionPrompts
from assent.generation.diffusion import sample, seeded_noise
from assent.likelihood.pipelines import LoadedPipeline, latent_shape

PICTURES = "pictures"
"""Folder of a run with grids drawn before and after training, from the same seeds."""


def save_pipeline(loaded: LoadedPipeline, model: nn.Module, folder: Path) -> str:
    """Writes the result and returns the line of Python that loads it.

    A full network is saved as a whole pipeline. An adapter is saved as `pytorch_lora_weights.safetensors`, which
    `load_lora_weights` of the base pipeline reads, its scale included; where the pipeline's class has no such
    method, the adapter is merged and the whole pipeline is saved.
    """
    adapted: Any = model
    if not hasattr(model, "peft_config"):
        loaded.pipeline.save_pretrained(str(folder), safe_serialization=True)
        return "pipeline = DiffusionPipeline.from_pretrained(folder)"
    if not hasattr(loaded.pipeline, "save_lora_weights"):
        setattr(loaded.pipeline, loaded.part, adapted.merge_and_unload())
        loaded.pipeline.save_pretrained(str(folder), safe_serialization=True)
        return "pipeline = DiffusionPipeline.from_pretrained(folder)"
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import get_peft_model_state_dict

    state = {
        name.removeprefix("base_model.model."): value.contiguous()
        for name, value in get_peft_model_state_dict(adapted).items()
    }
    layers = {
        f"{loaded.part}_lora_layers": convert_state_dict_to_diffusers(state),
        # Without it diffusers would assume that alpha equals the rank.
        f"{loaded.part}_lora_adapter_metadata": _plain(adapted.peft_config["default"].to_dict()),
    }
    type(loaded.pipeline).save_lora_weights(str(folder), **layers)
    return "pipeline = DiffusionPipeline.from_pretrained(base)\npipeline.load_lora_weights(folder)"


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """LoRA options as JSON knows them, without what says nothing about the weights."""
    kept = {name: value for name, value in options.items() if name not in ("base_model_name_or_path", "auto_mapping")}
    return {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in kept.items()
        if isinstance(value, str | int | float | bool | list | set | dict | None)
    }


def write_pictures(
    loaded: LoadedPipeline,
    model: nn.Module,
    prompts: Mapping[str, Mapping[str, Tensor]],
    path: Path,
    section: DiffusionConfig,
    nothing: Mapping[str, Tensor] | None,
) -> None:
    """Draws each prompt, one seed each from 0 on, as a row of pictures, and writes a PNG.

    The prompts go into `prompts.json` beside it. `nothing` is the conditioning of an empty prompt, which guidance
    needs; a class-conditional network and one distilled for guidance are asked without.
    """
    if not prompts:
        return
    device = next(model.parameters()).device
    conditioning = _stacked(list(prompts.values()), device)
    without = None
    dtype = next(model.parameters()).dtype
    if nothing is not None and "guidance" not in conditioning:
        without = _cast(_stacked([nothing] * len(prompts), device), dtype)
    start = seeded_noise(latent_shape(loaded), range(len(prompts))).to(device)
    training = model.training
    model.eval()
    scheduler = type(loaded.pipeline.scheduler).from_config(loaded.pipeline.scheduler.config)
    latents = sample(
        model,
        scheduler,
        _cast(conditioning, dtype),
        start.to(dtype),
        section.sampler_steps,
        section.guidance if without is not None else 1.0,
        without,
    )
    model.train(training)
    _write_row(loaded.images.decode(latents.float()), path)
    (path.parent / "prompts.json").write_text(json.dumps(list(prompts), ensure_ascii=False), encoding="utf-8")


def first_prompts(data: DiffusionComparisons | DiffusionPrompts, count: int) -> dict[str, dict[str, Tensor]]:
    """The first distinct prompts of a set with their conditioning."""
    found: dict[str, dict[str, Tensor]] = {}
    if isinstance(data, DiffusionPrompts):
        return {text: dict(one.candidates[0].media) for text, one in zip(data.prompts[:count], data, strict=False)}
    for place, comparison in enumerate(data.comparisons):
        if len(found) >= count:
            break
        text = prompt_text(comparison.prompt, comparison.key[:12])
        if text not in found:
            # The candidate under the comparison's own prompt.
            own = [at for at, one in enumerate(comparison.ordered()) if one.prompt is None]
            media = data[place].candidates[own[0] if own else 0].media
            found[text] = {name: value for name, value in media.items() if name not in (LATENTS, VARIANTS)}
    return found


def _cast(conditioning: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in conditioning.items()}


def _stacked(rows: Sequence[Mapping[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]).to(device) for name in rows[0]}


def _write_row(pictures: Sequence[Image.Image], path: Path) -> None:
    width, height = pictures[0].size
    row = Image.new("RGB", (width * len(pictures), height))
    for place, picture in enumerate(pictures):
        row.paste(picture, (place * width, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    row.save(path)
