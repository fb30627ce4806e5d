"""Pictures and texts in one space (CLIP, PickScore, HPS and their like), with a gradient to the picture.

Sources: Radford et al. 2021, arXiv 2103.00020 (the two towers); Kirstain et al. 2023, arXiv 2305.01569 (their cosine,
tuned on choices, as a reward); Liang et al. 2024, arXiv 2406.04314, section 3.2 (the image tower told the timestep).

    score = exp(logit scale) cos(image, text) + logit bias      (a bias only where the model has one, as SigLIP)

A step-aware model adds to every token of the image tower a vector made of the timestep; its last layer starts at 0,
so that a fresh one scores exactly as the model it starts from. Any folder that transformers loads with two towers
works; only CLIP's own image tower can be told a timestep.

Letters: N pictures, D size of the space.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from assent.errors import InputError
from assent.likelihood.pipelines import weights_hash
from assent.preference_models.picture_preprocessing import PicturePreprocessing

TIMES = "timestep_embedding.safetensors"
"""Beside a two-tower folder: what makes it step-aware."""
FREQUENCIES = 128


class TimestepEmbedding(nn.Module):
    """A vector for each timestep: sines and cosines through two layers, 0 at the start.

    Args:
        size: of the vectors.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(2 * FREQUENCIES, size), nn.Linear(size, size)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, timesteps: Tensor) -> Tensor:
        """[N, size]."""
        exponents = torch.arange(FREQUENCIES, device=timesteps.device) / FREQUENCIES
        angles = timesteps.to(self.first.weight.dtype)[:, None] * 10_000.0**-exponents
        found: Tensor = self.last(nn.functional.silu(self.first(torch.cat([angles.sin(), angles.cos()], dim=1))))
        return found


class ImageTextModel(nn.Module):
    """Scores pictures under texts.

    Args:
        model: two towers, as transformers loads them.
        processor: the model's own; its tokenizer, picture size, mean and deviation are used.
        step_aware: whether the image tower is told the timestep.
    """

    def __init__(self, model: nn.Module, processor: Any, step_aware: bool = False) -> None:
        super().__init__()
        self.model, self.processor = model, processor
        self.preprocessing = PicturePreprocessing.of(processor.image_processor)
        self.times: TimestepEmbedding | None = None
        self._told: Tensor | None = None
        if step_aware:
            tokens = self._token_module()
            self.times = TimestepEmbedding(tokens.embed_dim)
            tokens.register_forward_hook(self._add_time)

    @property
    def key(self) -> str:
        """Content hash of the weights."""
        return weights_hash(self)

    def embed_images(self, pixels: Tensor, timesteps: Tensor | None = None) -> Tensor:
        """[N, D] of length 1, with a gradient to the pixels.

        Args:
            pixels: [N, 1 or 3, height, width] in [-1, 1]; what lies outside is clipped.
            timesteps: [N], which a step-aware model must be told.
        """
        return self.embed_prepared(self.prepare(pixels), timesteps)

    def prepare(self, pixels: Tensor) -> Tensor:
        """What the image tower reads of pixels [N, 1 or 3, height, width] in [-1, 1], as its image processor does."""
        return self.preprocessing((pixels.clamp(-1, 1) + 1) / 2)

    def embed_prepared(self, values: Tensor, timesteps: Tensor | None = None) -> Tensor:
        """[N, D] of length 1, of pictures that are prepared already: those may have had different sizes."""
        if (self.times is None) != (timesteps is None):
            raise InputError(
                "a step-aware model is told the timestep, and no other",
                field="timesteps",
                found="none" if timesteps is None else "timesteps for a model that takes none",
            )
        model: Any = self.model
        self._told = timesteps
        try:
            found = model.get_image_features(pixel_values=values.to(next(self.model.parameters())))
        finally:
            self._told = None
        return normalize(_pooled(found).float(), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """[N, D] of length 1; texts beyond the model's length lose their end."""
        device = next(self.model.parameters()).device
        model: Any = self.model
        told = getattr(model.config, "text_config", None)
        longest = getattr(told, "max_position_embeddings", None)
        # SigLIP was trained on texts padded to their full length, whose padding it reads.
        full = str(model.config.model_type).startswith("siglip")
        batch = self.processor.tokenizer(
            list(texts),
            padding="max_length" if full else True,
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        ).to(device)
        inputs = {
            name: batch[name] for name in ("input_ids", *(() if full else ("attention_mask",))) if name in batch
        }
        return normalize(_pooled(model.get_text_features(**inputs)).float(), dim=-1)

    def forward(self, pixels: Tensor, texts: Sequence[str], timesteps: Tensor | None = None) -> Tensor:
        """[N] score of each picture under its text."""
        distinct = list(dict.fromkeys(texts))
        rows = torch.tensor([distinct.index(text) for text in texts], device=pixels.device)
        cosine = (self.embed_images(pixels, timesteps) * self.embed_texts(distinct)[rows]).sum(dim=-1)
        return cosine * self.scale + self.bias

    @property
    def bias(self) -> Tensor:
        """What is added to the scaled cosine; 0 where the model has no bias."""
        given = getattr(self.model, "logit_bias", None)
        return torch.zeros(()) if given is None else given

    @property
    def scale(self) -> Tensor:
        """What the cosine is multiplied with; 1 where the model has no scale."""
        given: Any = getattr(self.model, "logit_scale", None)
        found: Tensor = torch.ones(()) if given is None else given.exp()
        return found

    def save(self, folder: Path | str) -> None:
        """A folder that plain transformers loads; what a step-aware model adds stands beside it."""
        model: Any = self.model
        model.save_pretrained(str(folder))
        self.processor.save_pretrained(str(folder))
        if self.times is not None:
            save_file({k: v.contiguous() for k, v in self.times.state_dict().items()}, Path(folder) / TIMES)

    def _token_module(self) -> Any:
        for module in self.model.modules():
            if type(module).__name__ == "CLIPVisionEmbeddings":
                return module
        raise InputError(
            "only CLIP's image tower can be told the timestep", field="model", found=type(self.model).__name__
        )

    def _add_time(self, module: nn.Module, given: Any, tokens: Tensor) -> Tensor:
        if self.times is None or self._told is None:
            return tokens
        added: Tensor = self.times(self._told.to(tokens.device))
        return tokens + added[:, None].to(tokens.dtype)


def load_image_text(path: Path | str, step_aware: bool | None = None) -> ImageTextModel:
    """The two-tower model of a folder or hub name, in evaluation mode.

    Args:
        path: folder or hub name; weights load from safetensors only.
        step_aware: True: told the timestep, starting from a plain model where the folder is one; False: never;
            None: as the folder is.

    Raises:
        InputError: not such a model.
    """
    from transformers import AutoModel, AutoProcessor

    try:
        model = AutoModel.from_pretrained(path, use_safetensors=True)
        processor = AutoProcessor.from_pretrained(path)
    except (OSError, ValueError, KeyError, json.JSONDecodeError) as error:
        raise InputError(
            "not a model of pictures and texts",
            where=str(path),
            found=" ".join(str(error).split())[:300],
            expected="a folder of CLIP or its like, with its processor",
        ) from error
    lacking = [name for name in ("get_image_features", "get_text_features") if not hasattr(model, name)]
    if lacking or not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise InputError(
            "not a model of pictures and texts",
            where=str(path),
            found=type(model).__name__,
            expected="CLIP or its like",
        )
    times = Path(path) / TIMES
    aware = times.is_file() if step_aware is None else step_aware
    loaded = ImageTextModel(model, processor, aware)
    if aware and times.is_file() and loaded.times is not None:
        loaded.times.load_state_dict(load_file(times))
    return loaded.eval()


def _pooled(found: Any) -> Tensor:
    # transformers 4 gave the projected vector itself.
    pooled: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return pooled
