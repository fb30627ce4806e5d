"""Features of pictures by a vision model of a local folder: what distances between sets of pictures are taken of.

Source: Stein et al. 2023, arXiv 2306.04675, found that DINOv2's features order models as people do, and Inception's
do not; CLIP's are taken by Jayasumana et al. 2024, arXiv 2401.09603. Any folder that transformers loads works:

    two towers (CLIP, SigLIP)               the image embedding
    transformers with a class token         its last hidden state (ViT, DeiT, DINOv2, DINOv3, BEiT)
    others                                  what the model pools (ConvNeXt, ResNet, Swin, a CLIP image tower)

Features are kept on disk by the content of model and picture, so that a set of real pictures is read once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from assent.comparison import Media
from assent.encoding.images import image_key
from assent.errors import InputError
from assent.likelihood.pipelines import weights_hash
from assent.preference_models.clip_score import as_pixels
from assent.preference_models.picture_preprocessing import PicturePreprocessing
from assent.work.store import ArrayStore

CLASS_TOKEN = ("vit", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "beit", "ijepa")
AT_ONCE = 16
FEATURES = "features"
Progress = Callable[[int, int], None]


class PictureEncoder(Protocol):
    """What turns pictures into features."""

    key: str
    """Content hash of everything that decides the features."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """[N, D] of pixels in [0, 1], [N, 3, H, W]."""


class VisionModel:
    """A vision model of a folder.

    Args:
        model: as transformers loads it.
        preprocessing: its image processor's steps.
    """

    def __init__(self, model: nn.Module, preprocessing: PicturePreprocessing) -> None:
        self.model, self.preprocessing = model.eval().requires_grad_(False), preprocessing
        self.key = f"{weights_hash(model)} {preprocessing}"

    def __call__(self, pixels: Tensor) -> Tensor:
        """[N, D], float32."""
        values = self.preprocessing(pixels).to(next(self.model.parameters()))
        model: Any = self.model
        if hasattr(model, "get_image_features"):
            found = model.get_image_features(pixel_values=values)
            return _flat(found if isinstance(found, Tensor) else found.pooler_output)
        output = model(pixel_values=values)
        if model.config.model_type in CLASS_TOKEN:
            return _flat(output.last_hidden_state[:, 0])
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            raise InputError(
                "this model does not say which of its numbers stand for the picture",
                field="--features",
                found=model.config.model_type,
                expected="a model with two towers, a class token or a pooled output",
            )
        return _flat(pooled)


def load_vision_model(folder: Path | str) -> VisionModel:
    """The vision model of a folder; weights from safetensors only.

    Raises:
        InputError: no such model, or one whose pictures are prepared in a way that is not known here.
    """
    from transformers import AutoImageProcessor, AutoModel

    if not Path(folder).is_dir():
        raise InputError("no such model folder", where=str(folder), field="--features")
    try:
        model = AutoModel.from_pretrained(folder, use_safetensors=True)
        processor = AutoImageProcessor.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "not a vision model with its image processor",
            where=str(folder),
            field="--features",
            found=" ".join(str(error).split())[:300],
        ) from error
    return VisionModel(model, PicturePreprocessing.of(processor))


@torch.no_grad()
def features_of(
    pictures: Sequence[Media],
    encoder: PictureEncoder,
    store: ArrayStore | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """[N, D] features of pictures; those that the store holds are not computed again.

    Raises:
        InputError: a picture that cannot be read, by its path.
    """
    where = [media.path for media in pictures]
    keys = [_key(encoder, image_key(media, place)) for media, place in zip(pictures, where, strict=True)]
    found: dict[bytes, NDArray[np.float32]] = {}
    if store is not None:
        kept = zip(keys, store.get_all(keys), strict=True)
        found = {key: np.asarray(arrays[FEATURES], dtype=np.float32) for key, arrays in kept if arrays is not None}
    missing = list({key: place for place, key in enumerate(keys) if key not in found}.items())
    try:
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            for (key, _), row in zip(part, _encoded([pictures[place] for _, place in part], encoder), strict=True):
                found[key] = row
                if store is not None:
                    store.put(key, {FEATURES: row})
            if progress:
                progress(min(start + AT_ONCE, len(missing)), len(missing))
    finally:
        if store is not None:
            store.close_shard()
    return np.stack([found[key] for key in keys])


def _encoded(pictures: Sequence[Media], encoder: PictureEncoder) -> list[NDArray[np.float32]]:
    """Pictures of one size go through the network together."""
    pixels = [(as_pixels(media, media.path) + 1) / 2 for media in pictures]
    rows: dict[int, NDArray[np.float32]] = {}
    for shape in dict.fromkeys(one.shape for one in pixels):
        places = [place for place, one in enumerate(pixels) if one.shape == shape]
        values = encoder(torch.cat([pixels[place] for place in places])).float().cpu().numpy()
        rows |= dict(zip(places, values, strict=True))
    return [rows[place] for place in range(len(pixels))]


def _key(encoder: PictureEncoder, picture: str) -> bytes:
    return hashlib.sha256(f"picture features\0{encoder.key}\0{picture}".encode()).digest()


def _flat(features: Tensor) -> Tensor:
    return features.flatten(1).float()
