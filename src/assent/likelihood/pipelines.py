"""Diffusion pipelines saved by diffusers, taken apart into network, noise levels, picture and prompt encoders.

Stable Diffusion 1.5 and 2, SDXL (two text encoders and size conditioning), Stable Diffusion 3, FLUX, and plain
`DDPMPipeline` folders (a UNet over pixels; a class-conditional one reads the prompt as its class). Weights load from
safetensors only. Text embeddings come from the pipeline's own `encode_prompt`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image, fromarray
from PIL.Image import new as new_image
from torch import Tensor, nn

from assent.encoding.diffusion import Conditioner
from assent.encoding.images import square
from assent.errors import InputError
from assent.likelihood.noising import Noising

FLUX_GUIDANCE = 3.5
PLAIN, LATENT = "DDPMPipeline", ("StableDiffusion", "StableDiffusionXL", "StableDiffusion3", "Flux")


@dataclass
class LoadedPipeline:
    """A pipeline's parts.

    Args:
        pipeline: the diffusers object, for sampling and saving.
        network: what is trained.
        noising: its noise levels.
        images: its picture encoder.
        prompts: its prompt encoder.
    """

    pipeline: Any
    network: nn.Module
    noising: Noising
    images: VaeCodec | PixelCodec
    prompts: Conditioner

    @property
    def part(self) -> str:
        """Under which name the pipeline keeps its network."""
        return "transformer" if getattr(self.pipeline, "transformer", None) is not None else "unet"


def is_pipeline(path: str) -> bool:
    """Whether a folder holds a diffusers pipeline."""
    return (Path(path) / "model_index.json").is_file()


def load_pipeline(path: str, resolution: int | None = None, dtype: torch.dtype = torch.float32) -> LoadedPipeline:
    """A pipeline of a folder or hub name, everything but the network frozen.

    Args:
        path: folder or hub name.
        resolution: of the pictures; default: what the network was trained for.
        dtype: of the weights.

    Raises:
        InputError: not a pipeline, or of a kind no likelihood is known for.
    """
    try:
        from diffusers import DiffusionPipeline
    except ImportError:
        raise InputError("diffusion needs diffusers", remedy="pip install 'assent[diffusion]'") from None
    _check_kind(path)
    try:
        pipeline = DiffusionPipeline.from_pretrained(path, dtype=dtype, use_safetensors=True, **left_out(path))
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise InputError("cannot load the pipeline", where=path, found=str(error)[:300]) from error
    network = getattr(pipeline, "transformer", None) or pipeline.unet
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module) and part is not network:
            part.requires_grad_(False).eval()
        if name == "vae" and part is not None and dtype != torch.float32:
            # Half precision overflows in some VAEs (SDXL's), and latents are computed once.
            part.to(torch.float32)
    vae = pipeline.components.get("vae")
    size = resolution or _native(network, pipeline)
    images: VaeCodec | PixelCodec = (
        VaeCodec(vae, size) if vae is not None else PixelCodec(size, network.config.in_channels)
    )
    prompts: Conditioner = (
        ClassPrompts(network.config.num_class_embeds) if vae is None else PipelinePrompts(pipeline, size)
    )
    return LoadedPipeline(pipeline, network, Noising.from_scheduler(pipeline.scheduler), images, prompts)


def latent_shape(loaded: LoadedPipeline) -> tuple[int, ...]:
    """The shape of one latent of a pipeline."""
    size = loaded.images.size
    return tuple(loaded.images.encode([new_image("RGB", (size, size))])[0].shape)


class PixelCodec:
    """Pictures as pixels in [-1, 1], grey for one channel."""

    def __init__(self, size: int, channels: int) -> None:
        self.size, self.channels = size, channels
        self.key = f"pixels {size} {channels}"

    def encode(self, pictures: Sequence[Image]) -> Tensor:
        """[N, C, size, size]."""
        if self.channels == 1:
            pictures = [picture.convert("L").convert("RGB") for picture in pictures]
        return torch.from_numpy(np.stack([square(picture, self.size) for picture in pictures]))[:, : self.channels]

    def decode(self, latents: Tensor) -> list[Image]:
        """The pictures of pixels in [-1, 1]."""
        return _pictures(latents)

    def pixels(self, latents: Tensor) -> Tensor:
        """The pixels themselves."""
        return latents


class VaeCodec:
    """Pictures as latents: the mode of the VAE's posterior, shifted and scaled."""

    def __init__(self, vae: nn.Module, size: int) -> None:
        self.vae, self.size = vae, size
        self.key = f"vae {weights_hash(vae)} {size}"

    @torch.no_grad()
    def encode(self, pictures: Sequence[Image]) -> Tensor:
        """[N, C, h, w]."""
        vae: Any = self.vae
        device = next(vae.parameters()).device
        pixels = torch.from_numpy(np.stack([square(picture, self.size) for picture in pictures])).to(device)
        latents: Tensor = vae.encode(pixels).latent_dist.mode()
        shift, scale = float(getattr(vae.config, "shift_factor", None) or 0.0), float(vae.config.scaling_factor)
        return (latents - shift) * scale

    @torch.no_grad()
    def decode(self, latents: Tensor) -> list[Image]:
        """The pictures of latents."""
        return _pictures(self.pixels(latents))

    def pixels(self, latents: Tensor) -> Tensor:
        """[N, 3, size, size] about [-1, 1], with a gradient to the latents."""
        vae: Any = self.vae
        shift, scale = float(getattr(vae.config, "shift_factor", None) or 0.0), float(vae.config.scaling_factor)
        found: Tensor = vae.decode(latents.to(next(vae.parameters())) / scale + shift).sample
        return found


class ClassPrompts:
    """The prompt as the number of a class; an unconditional network reads nothing."""

    def __init__(self, classes: int | None) -> None:
        self.classes = classes
        self.key = f"classes {classes}"

    def encode(self, prompts: Sequence[str]) -> list[dict[str, Tensor]]:
        """`class_labels` for each prompt."""
        if self.classes is None:
            return [{} for _ in prompts]
        return [{"class_labels": torch.tensor(self._number(prompt))} for prompt in prompts]

    def _number(self, prompt: str) -> int:
        number = int(prompt) if prompt.strip().isdigit() else -1
        if not 0 <= number < (self.classes or 0):
            raise InputError(
                "the prompt of a class-conditional model is the number of a class",
                field="prompt",
                found=repr(prompt[:40]),
                expected=f"0 to {(self.classes or 0) - 1}",
            )
        return number


class PipelinePrompts:
    """What the pipeline's own text encoders make of a prompt."""

    def __init__(self, pipeline: Any, size: int) -> None:
        self.pipeline, self.size = pipeline, size
        parts = [(name, part) for name, part in pipeline.components.items() if part is not None]
        hashes = [weights_hash(part) for name, part in parts if name.startswith("text_encoder")]
        hashes += [_tokenizer_hash(part) for name, part in parts if name.startswith("tokenizer")]
        self.kind = type(pipeline).__name__
        self.key = f"{self.kind} {size} {' '.join(hashes)}"

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> list[dict[str, Tensor]]:
        """`prompt_embeds`, and `pooled_embeds`, `time_ids`, `guidance` where the family has them."""
        texts = list(prompts)
        found: dict[str, Tensor] = {}
        if self.kind.startswith("StableDiffusionXL"):
            embeds, _, pooled, _ = self.pipeline.encode_prompt(texts, do_classifier_free_guidance=False)
            sizes = torch.tensor([float(self.size), self.size, 0, 0, self.size, self.size])
            found = {"prompt_embeds": embeds, "pooled_embeds": pooled, "time_ids": sizes.expand(len(texts), 6)}
        elif self.kind.startswith("StableDiffusion3"):
            embeds, _, pooled, _ = self.pipeline.encode_prompt(texts, None, None, do_classifier_free_guidance=False)
            found = {"prompt_embeds": embeds, "pooled_embeds": pooled}
        elif self.kind.startswith("Flux"):
            embeds, pooled, _ = self.pipeline.encode_prompt(texts, None)
            found = {"prompt_embeds": embeds, "pooled_embeds": pooled}
            if self.pipeline.transformer.config.guidance_embeds:
                found["guidance"] = torch.full((len(texts),), FLUX_GUIDANCE)
        else:
            device = next(self.pipeline.text_encoder.parameters()).device
            embeds, _ = self.pipeline.encode_prompt(texts, device, 1, do_classifier_free_guidance=False)
            found = {"prompt_embeds": embeds}
        return [{name: value[row].float() for name, value in found.items()} for row in range(len(texts))]


def _pictures(pixels: Tensor) -> list[Image]:
    values = ((pixels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    rows = values.expand(-1, 3, -1, -1) if values.shape[1] == 1 else values[:, :3]
    return [fromarray(row.permute(1, 2, 0).numpy()) for row in rows]


def weights_hash(module: nn.Module) -> str:
    """SHA-256 over the names and values of a module's weights, shortened."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:24]


def _tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 over what decides a tokenizer's ids, shortened."""
    content = json.dumps([sorted(tokenizer.get_vocab().items()), tokenizer.model_max_length])
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Truncation and padding are set anew by every call, so they say nothing.
        parts = {**json.loads(backend.to_str()), "truncation": None, "padding": None}
        content += json.dumps(parts, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def left_out(path: str) -> dict[str, None]:
    """The third text encoder of Stable Diffusion 3, where it was saved without."""
    index = Path(path) / "model_index.json"
    if not index.is_file():
        return {}
    parts = json.loads(index.read_text())
    if not parts["_class_name"].startswith("StableDiffusion3"):
        return {}
    return {name: None for name in ("text_encoder_3", "tokenizer_3") if parts.get(name, [None])[0] is None}


def _check_kind(path: str) -> None:
    if not Path(path).exists():
        return
    if not is_pipeline(path):
        raise InputError("not a diffusers pipeline", where=path, expected="a folder with model_index.json")
    try:
        kind = str(json.loads((Path(path) / "model_index.json").read_text())["_class_name"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("model_index.json is damaged", where=path, found=str(error)[:120]) from None
    if kind != PLAIN and not kind.removesuffix("Pipeline").startswith(LATENT):
        raise InputError(
            "no likelihood is known for this kind of pipeline",
            where=path,
            found=kind,
            expected=", ".join([PLAIN, *(f"{name}Pipeline" for name in LATENT)]),
        )


def _native(network: Any, pipeline: Any) -> int:
    """The resolution that the network was trained for, in pixels."""
    size = getattr(network.config, "sample_size", None) or getattr(pipeline, "default_sample_size", None)
    if size is None:
        raise InputError("this pipeline does not say its resolution", field="diffusion.resolution", remedy="Set it")
    return int(size) * int(getattr(pipeline, "vae_scale_factor", 1) if "vae" in pipeline.components else 1)
