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


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (7, 3)), (6, (3, 0)), (8, (0, 7))])
def test_a_turned_picture_is_turned_back(orientation: int, corner: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    marked = Image.new("RGB", (8, 4))
    marked.putpixel((0, 0), (255, 255, 255))
    assert load_image(encoded(marked, "PNG", exif=exif)).getpixel(corner) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    shown = load_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=40, **options))
    assert (shown.size, shown.getpixel((2, 2))) == ((6, 5), (255, 0, 0))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_print_colours_become_screen_colours(kind: str) -> None:
    shown = load_image(encoded(Image.new("RGB", (16, 16), "red").convert("CMYK"), kind))
    red, green, blue = shown.getpixel((8, 8))  # type: ignore[misc]
    assert (red > 240, green < 20, blue < 20) == (True, True, True)


def test_a_palette_with_a_transparent_entry_shows_white() -> None:
    drawn = Image.new("P", (2, 2), 1)
    drawn.putpalette([0, 0, 0, 0, 255, 0])
    drawn.putpixel((0, 0), 0)
    shown = load_image(encoded(drawn, "PNG", transparency=0))
    assert (shown.getpixel((0, 0)), shown.getpixel((1, 1))) == ((255, 255, 255), (0, 255, 0))


def test_sixteen_bits_of_colour_keep_their_upper_eight() -> None:
    rows = b"".join(b"\0" + struct.pack(">3H", 0, 0x8000, 0xFFFF) for _ in range(1))
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert load_image(Media("image", data=data)).getpixel((0, 0)) == (0, 128, 255)


@pytest.mark.parametrize("name", ["picture.jpg", "picture.txt", "picture"])
def test_a_wrong_name_does_not_matter(name: str, tmp_path: Path) -> None:
    noise("RGB").save(tmp_path / name, "PNG")
    assert load_image(Media("image", path=str(tmp_path / name))).size == (12, 9)


def test_a_damaged_file_is_named_beside_its_record(tmp_path: Path) -> None:
    path = tmp_path / "17-a.png"
    for damage in (lambda data: data[:60], lambda data: b"", lambda data: data[:40] + b"\0" * 20 + data[60:]):
        noise("RGB").save(path)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(InputError) as raised:
            load_image(Media("image", path=str(path)), "3f2ab90c")
        assert raised.value.where == f"3f2ab90c, {path}"
        with pytest.raises(InputError) as raised:
            load_image(Media("image", path=str(path)), str(path))
        assert raised.value.where == str(path)


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (Media("image", data=b""), "not a readable image"),
        (Media("image", data=b"<svg onload='x'/>"), "not a readable image"),
        (Media("image", data=encoded(noise("RGB")).data[:60]), "not a readable image"),
        (Media("image", data=bomb()), "too many pixels"),
        (Media("image", data=bomb(9_000, 9_000)), "too many pixels"),
        (Media("image", data=bomb(2**31 - 1, 1)), "too many pixels|not a readable image"),
        (Media("image", data=bomb(0, 0)), "not a readable image|the image is empty"),
        (Media("image", data=bomb(0, 7)), "not a readable image|the image is empty"),
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
