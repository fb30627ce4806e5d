"""Tiny random models of pictures: two towers (CLIP, SigLIP, MetaCLIP 2) and plain vision models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    MetaClip2Config,
    MetaClip2Model,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
    ViTConfig,
    ViTModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from tests.tiny_diffusion import clip_tokenizer

SIZE, LENGTH = 16, 16
"""Sides of a picture, and tokens of a caption: those of the tokenizer."""
SHAPE = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT = {**SHAPE, "vocab_size": 514, "max_position_embeddings": LENGTH, "bos_token_id": 512, "eos_token_id": 513}
VISION = {**SHAPE, "image_size": SIZE, "patch_size": 8}


def clip_images() -> CLIPImageProcessorPil:
    """CLIP's preparation of pictures: the shorter side resized, the middle cut out."""
    return CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})


def clip(**options: Any) -> tuple[CLIPModel, Any]:
    """A random CLIP with its processor."""
    config = CLIPConfig(text_config={**TEXT, "pad_token_id": 513}, vision_config=VISION, projection_dim=20, **options)
    return CLIPModel(config), CLIPProcessor(clip_images(), clip_tokenizer())


def meta_clip() -> tuple[MetaClip2Model, Any]:
    """A random MetaCLIP 2."""
    config = MetaClip2Config(text_config={**TEXT, "pad_token_id": 513}, vision_config=VISION, projection_dim=20)
    return MetaClip2Model(config), CLIPProcessor(clip_images(), clip_tokenizer())


def siglip() -> tuple[SiglipModel, Any]:
    """A random SigLIP, which resizes to a square and has a bias."""
    config = SiglipConfig(text_config={**TEXT, "pad_token_id": 513}, vision_config=VISION)
    images = SiglipImageProcessorPil(size={"height": SIZE, "width": SIZE})
    return SiglipModel(config), SiglipProcessor(images, clip_tokenizer())


TOWERS = {"clip": clip, "siglip": siglip, "meta_clip": meta_clip}


def save_towers(folder: Path, kind: str = "clip", seed: int = 0) -> Path:
    """A tiny model of pictures and texts, saved in a folder."""
    torch.manual_seed(seed)
    model, processor = TOWERS[kind]()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            # Random towers see next to no difference between pictures at the usual small start.
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_vision(folder: Path, kind: str = "vit", seed: int = 0) -> Path:
    """A tiny vision model with its image processor, saved in a folder."""
    torch.manual_seed(seed)
    models = {
        "vit": lambda: ViTModel(ViTConfig(**VISION)),
        "dinov2": lambda: Dinov2Model(Dinov2Config(**{k: v for k, v in VISION.items() if k != "intermediate_size"})),
        "convnext": lambda: ConvNextModel(ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)),
    }
    models[kind]().save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return folder
