"""Squares of a picture: its middle, or cuts along the longer side that may be mirrored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from PIL import ImageOps
from PIL.Image import Image


@dataclass(frozen=True)
class View:
    """Which square of a picture is seen.

    Args:
        place: of the square along the longer side, from 0 to 1.
        mirrored: left and right exchanged.
    """

    place: float = 0.5
    mirrored: bool = False

    def of(self, picture: Image) -> Image:
        """The picture as it is seen; its middle is left to whoever resizes it."""
        if self == MIDDLE:
            return picture
        width, height = picture.size
        side = min(width, height)
        left, top = (round(self.place * (length - side)) for length in (width, height))
        cut = picture.crop((left, top, left + side, top + side))
        return ImageOps.mirror(cut) if self.mirrored else cut


MIDDLE = View()


def view_of(comparison: str, variant: int) -> View:
    """The view of a variant, the same for all pictures of a comparison; the first is the middle."""
    if variant == 0:
        return MIDDLE
    digest = hashlib.sha256(f"view {comparison} {variant}".encode()).digest()
    return View(int.from_bytes(digest[:2], "big") / 65535, bool(digest[2] & 1))
