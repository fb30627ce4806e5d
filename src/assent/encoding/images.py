"""Pictures from files and bytes, made safe: converted to 8-bit RGB, or refused with the reason.

Palette, grey, CMYK, 16-bit and transparent pictures are converted (transparency over white, the orientation tag
applied); of animations the first picture is taken, and a file is known by what it holds, not by its name. Truncated
and corrupted ones, those that would unpack to more than `MOST_PIXELS`, and files that are no picture are refused.
Nothing is fetched from a network.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from assent.comparison import Media
from assent.errors import InputError

MOST_PIXELS = 64_000_000
MOST_BYTES = 200_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Decoders that may run on a stranger's bytes; Pillow knows many more, some of which start other programs."""


def image_bytes(media: Media, where: str | None = None) -> bytes:
    """The encoded bytes of a picture.

    Raises:
        InputError: not a picture, not a local file, or too large.
    """
    if media.kind != "image":
        raise InputError("not an image", where=where, found=media.kind)
    if media.data is not None:
        data = media.data
    else:
        assert media.path is not None
        if "://" in media.path:
            raise InputError(
                "remote images are not fetched", where=where, found=media.path[:80], remedy="Download it first"
            )
        try:
            data = Path(media.path).read_bytes()
        except (OSError, ValueError) as error:
            raise InputError("cannot read the image", where=where, found=f"{media.path[:80]}: {error}") from None
    if len(data) > MOST_BYTES:
        raise InputError(
            "the image file is too large",
            where=_place(media, where),
            found=f"{len(data):,} bytes",
            expected=f"at most {MOST_BYTES:,}",
        )
    return data


def load_image(media: Media, where: str | None = None) -> Image.Image:
    """The picture as 8-bit RGB.

    Raises:
        InputError: with the reason, naming the record (`where`).
    """
    data = image_bytes(media, where)
    where = _place(media, where)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning)
        try:
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(picture, where)
            picture.load()
            return _rgb(ImageOps.exif_transpose(picture))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise InputError(
                "the image would unpack to too many pixels", where=where, expected=f"at most {MOST_PIXELS}"
            ) from None
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, OverflowError) as error:
            raise InputError(
                "not a readable image, or cut short", where=where, found=f"{len(data)} bytes: {error}"[:200]
            ) from None


def _place(media: Media, where: str | None) -> str | None:
    """The record and, where the picture is a file, the file: what somebody has to look at."""
    return ", ".join(dict.fromkeys(part for part in (where, media.path) if part)) or None


def image_key(media: Media, where: str | None = None) -> str:
    """Content hash of the encoded picture."""
    return hashlib.sha256(image_bytes(media, where)).hexdigest()


def square(picture: Image.Image, size: int) -> NDArray[np.float32]:
    """[3, size, size] in [-1, 1]: the shorter side resized to `size`, then the middle cut out."""
    fitted = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(fitted, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1


def _check_size(picture: Image.Image, where: str | None) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise InputError(
            "the image has too many pixels",
            where=where,
            found=f"{width} x {height}",
            expected=f"at most {MOST_PIXELS}",
        )
    if min(width, height) < 1:
        raise InputError("the image is empty", where=where, found=f"{width} x {height}")


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        # 16- and 32-bit grey: Pillow's own conversion clips at 255 instead of scaling.
        values = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        return Image.fromarray((values.clip(0, top) / top * 255).round().astype(np.uint8)).convert("RGB")
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return picture.convert("RGB")
