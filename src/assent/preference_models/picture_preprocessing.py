"""What a model's image processor does to a picture, in tensor operations: a gradient reaches the pixels.

The published processors resize 8-bit pictures and round after each pass. Here nothing is rounded, so that the reward
that is measured is the reward that is climbed; the two differ by about one step of 255 at sharp edges (a test states
the bound). No other library is needed.

Letters: N pictures, C channels, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from assent.errors import InputError

FILTERS = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
"""Filters by the numbers that image processors use for them."""


@dataclass(frozen=True)
class PicturePreprocessing:
    """Resize, cut out of the middle, and normalise.

    Args:
        resize: the shorter side, or (height, width); None: as it is.
        crop: (height, width) cut out of the middle; None: nothing is cut.
        filter: of the resizing.
        mean: by channel, of pixels in [0, 1].
        spread: by channel.
        scale: what pixels in [0, 1] are multiplied with before; 1 unless the model wants another range.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    filter: str = "bicubic"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    spread: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 1.0

    @classmethod
    def of(cls, processor: Any) -> PicturePreprocessing:
        """What an image processor of transformers does.

        Raises:
            InputError: a step or a filter that has no form here.
        """
        told: Mapping[str, Any] = processor.to_dict()
        size, crop = _sides(told.get("size")), _sides(told.get("crop_size"))
        cut = bool(told.get("do_center_crop"))
        if cut and (crop is None or isinstance(crop, int)):
            crop = None if crop is None else (int(crop), int(crop))
        given = int(told.get("resample", 3) if told.get("resample") is not None else 3)
        if given not in FILTERS:
            raise InputError(
                "this image processor's filter has no form with a gradient",
                field="resample",
                found=str(given),
                expected=", ".join(f"{number} ({name})" for number, name in FILTERS.items()),
            )
        normalised = bool(told.get("do_normalize", True))
        return cls(
            resize=size if told.get("do_resize", True) else None,
            crop=crop if cut and isinstance(crop, tuple) else None,
            filter=FILTERS[given],
            mean=tuple(map(float, told["image_mean"])) if normalised else (0.0, 0.0, 0.0),
            spread=tuple(map(float, told["image_std"])) if normalised else (1.0, 1.0, 1.0),
            scale=255.0 * float(told.get("rescale_factor") or 1 / 255) if told.get("do_rescale", True) else 255.0,
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """What the network reads, [N, 3, height, width].

        Args:
            pixels: [N, 1 or 3, H, W] in [0, 1], of one size.
        """
        shown = self._cut(self._resized(pixels)).expand(-1, 3, -1, -1) * self.scale
        mean, spread = (torch.tensor(v).to(shown).view(1, -1, 1, 1) for v in (self.mean, self.spread))
        return (shown - mean) / spread

    def _resized(self, pixels: Tensor) -> Tensor:
        if self.resize is None:
            return pixels
        sides = self._fitted(pixels.shape[-2], pixels.shape[-1])
        if sides == tuple(pixels.shape[-2:]):
            return pixels
        if self.filter == "nearest-exact":
            return interpolate(pixels, sides, mode=self.filter)
        # A cubic overshoots at edges, where 8-bit pictures are clipped after either pass: first along a row.
        for part in ((pixels.shape[-2], sides[1]), sides):
            pixels = interpolate(pixels, part, mode=self.filter, align_corners=False, antialias=True).clamp(0, 1)
        return pixels

    def _fitted(self, height: int, width: int) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        assert self.resize is not None
        short, long = min(height, width), max(height, width)
        longer = int(self.resize * long / short)
        return (self.resize, longer) if height <= width else (longer, self.resize)

    def _cut(self, pixels: Tensor) -> Tensor:
        if self.crop is None:
            return pixels
        top, left = ((pixels.shape[axis] - self.crop[axis]) // 2 for axis in (-2, -1))
        if min(top, left) < 0:
            raise InputError(
                "the middle that is cut out is larger than the picture",
                field="crop_size",
                found=f"{self.crop} of {tuple(pixels.shape[-2:])}",
            )
        return pixels[..., top : top + self.crop[0], left : left + self.crop[1]]


def _sides(size: Any) -> int | tuple[int, int] | None:
    """A size as image processors write it: a number, or a mapping with one or two sides."""
    if size is None or isinstance(size, int):
        return size
    named = dict(size)
    if named.get("height") and named.get("width"):
        return int(named["height"]), int(named["width"])
    if named.get("shortest_edge") and not named.get("longest_edge"):
        return int(named["shortest_edge"])
    raise InputError(
        "a size of this image processor has no form here",
        field="size",
        found=str({name: value for name, value in named.items() if value}),
        expected="height and width, or shortest_edge",
    )
