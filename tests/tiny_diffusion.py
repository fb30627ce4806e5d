"""Tiny random diffusion pipelines of every family, and pictures to train them on."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from assent.comparison import Candidate, Comparison, Media
from assent.recipes.diffusion_parts.tiny import (
    PIPELINES,
    clip_tokenizer,
    save_tiny_clip,
    save_tiny_pipeline,
)

__all__ = ["PIPELINES", "clip_tokenizer", "image_pairs", "picture", "png", "save_tiny_clip", "save_tiny_pipeline"]


def picture(seed: int, size: int = 16) -> Image.Image:
    """A picture of random colours."""
    values = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(values)


def png(image: Image.Image) -> bytes:
    """Its bytes as PNG."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def image_pairs(
    count: int = 4, prompts: tuple[str, ...] = ("a red boat", "a dog"), size: int = 16
) -> list[Comparison]:
    """Pairs of random pictures under a caption each."""
    return [
        Comparison(
            prompts[number % len(prompts)],
            tuple(
                Candidate(Media("image", data=png(picture(2 * number + side, size))), score=1.0 - side)
                for side in (0, 1)
            ),
        )
        for number in range(count)
    ]
