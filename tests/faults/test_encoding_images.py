"""Pictures of every kind are converted or refused with the reason, never a traceback."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assent.comparison import Media
from assent.encoding.images import image_key, load_image, square
from assent.errors import InputError

RNG = np.random.default_rng(0)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> Media:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return Media("image", data=stream.getvalue())


def noise(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(RNG.integers(0, 65536, (9, 12)).astype(np.uint16))
    return Image.fromarray(RNG.integers(0, 256, (9, 12, 3)).astype(np.uint8)).convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "LA", "RGBA", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    picture = load_image(encoded(noise(mode), "TIFF" if mode == "CMYK" else "PNG"))
    assert (picture.mode, picture.size) == ("RGB", (12, 9))


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    assert np.asarray(load_image(encoded(grey)))[0, :, 0].tolist() == [0, 128, 255]


def test_transparency_shows_white() -> None:
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert load_image(encoded(clear)).getpixel((0, 0)) == (255, 255, 255)


def test_the_orientation_tag_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(encoded(Image.new("RGB", (8, 4)), "JPEG", exif=exif)).size == (4, 8)


def bomb() -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (Media("image", data=b""), "not a readable image"),
        (Media("image", data=b"<svg onload='x'/>"), "not a readable image"),
        (Media("image", data=encoded(noise("RGB")).data[:60]), "not a readable image"),
        (Media("image", data=bomb()), "too many pixels"),
        (Media("image", path="/nowhere/picture.png"), "cannot read the image"),
        (Media("image", path="https://example.org/a.png"), "remote images are not fetched"),
        (Media("image", path="a\0b.png"), "cannot read the image"),
        (Media("audio", data=b"x"), "not an image"),
        (Media("image", data=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "not a readable image"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason_and_the_record(media: Media, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as error:
        load_image(media, where="pairs.parquet:7")
    assert "pairs.parquet:7" in str(error.value)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the image"):
        load_image(Media("image", path=str(tmp_path)))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP"]), st.integers(0, 10_000), st.integers(0, 255), st.booleans()
)
def test_damaged_bytes_are_read_or_refused(kind: str, place: int, value: int, cut: bool) -> None:
    data = bytearray(encoded(noise("RGB"), kind).data)
    place %= len(data)
    data[place] = value
    try:
        picture = load_image(Media("image", data=bytes(data[:place] if cut else data)))
        assert picture.mode == "RGB"
    except InputError:
        pass


def test_squares_are_cut_from_the_middle_and_scaled() -> None:
    wide = Image.new("RGB", (40, 10), "black")
    wide.paste("white", (15, 0, 25, 10))
    array = square(wide, 10)
    assert array.shape == (3, 10, 10)
    assert array.min() >= -1
    assert array[:, 5, 5].tolist() == [1.0, 1.0, 1.0]


def test_the_key_follows_the_content() -> None:
    first, second = encoded(noise("RGB")), encoded(noise("RGB"))
    assert image_key(first) == image_key(Media("image", data=first.data)) != image_key(second)
