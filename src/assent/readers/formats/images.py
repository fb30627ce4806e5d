"""Pictures compared under a caption: pairs of any source, Pick-a-Pic's table, ranked lists as ImageReward has them.

A picture is a path (relative to the data file), its encoded bytes, or the `{"bytes": ..., "path": ...}` of image
columns in Parquet. The pictures themselves are looked at when a model encodes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from assent.comparison import Candidate, Comparison, Media
from assent.errors import InputError
from assent.readers import fields
from assent.readers.formats.preference import COMMON, comparison
from assent.readers.formats.scored_list import score_of
from assent.readers.row_format import Row, RowFormat

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
CAPTIONS = ("prompt", "caption")
LISTS = ("images", "generations", "image_paths")
RANKINGS = ("ranking", "ranks", "scores")


def picture(value: Any, name: str) -> Media:
    """The image that a cell holds.

    Raises:
        InputError: neither a path nor bytes.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes | bytearray) and value:
        return Media("image", data=bytes(value))
    if isinstance(value, str) and value:
        return Media("image", path=value)
    raise InputError(
        "not a picture", field=name, found=fields.shown(value), expected="a path, bytes, or an object with either"
    )


def recognise_pair(row: Row) -> str | None:
    """Why a row is a pair of pictures."""
    caption = _name(row, CAPTIONS)
    if caption is None or not (_is_picture(row.get("chosen")) and _is_picture(row.get("rejected"))):
        return None
    return f"columns {caption}, chosen and rejected, which hold pictures"


def read_pair(row: Row) -> Comparison:
    """The comparison of a pair: scores 1 for chosen, 0 for rejected."""
    caption = _name(row, CAPTIONS) or "prompt"
    candidates = [
        Candidate(picture(fields.required(row, name), name), score=s)
        for name, s in (("chosen", 1.0), ("rejected", 0.0))
    ]
    return comparison(row, fields.text(row, caption), candidates, (caption, "chosen", "rejected", *COMMON))


def recognise_captioned(row: Row) -> str | None:
    """Why a row is a picture with its caption, which nobody judged."""
    caption = _name(row, CAPTIONS)
    return f"columns {caption} and image" if caption is not None and _is_picture(row.get("image")) else None


def read_captioned(row: Row) -> Comparison:
    """The comparison of one picture that is not judged: what `sft` and the editor of captions take."""
    caption = _name(row, CAPTIONS) or "prompt"
    candidates = [Candidate(picture(fields.required(row, "image"), "image"))]
    return comparison(row, fields.text(row, caption), candidates, (caption, "image", *COMMON))


def recognise_pickapic(row: Row) -> str | None:
    """Why a row is Pick-a-Pic's."""
    if not {"caption", "jpg_0", "jpg_1", "label_0"} <= set(row):
        return None
    return "columns caption, jpg_0, jpg_1 and label_0"


def read_pickapic(row: Row) -> Comparison:
    """The comparison of a row of Pick-a-Pic; 0.5 is a tie, a row without a label is not judged."""
    label = fields.optional_number(fields.required(row, "label_0"), "label_0")
    if fields.truth(row.get("has_label"), "has_label") is False:
        label = None
    if label is not None and not 0 <= label <= 1:
        raise InputError("a label out of range", field="label_0", found=f"{label:g}", expected="0, 0.5 (tie) or 1")
    scores = (None, None) if label is None else (label, 1 - label)
    candidates = [
        Candidate(
            picture(fields.required(row, f"jpg_{side}"), f"jpg_{side}"),
            score=scores[side],
            source=fields.optional_text(row, f"model_{side}"),
        )
        for side in (0, 1)
    ]
    used = ("caption", "jpg_0", "jpg_1", "label_0", "label_1", "has_label", "model_0", "model_1", *COMMON)
    return comparison(row, fields.text(row, "caption"), candidates, used)


def recognise_ranking(row: Row) -> str | None:
    """Why a row is a list of ranked pictures."""
    caption, images, ranking = (_name(row, names) for names in (CAPTIONS, LISTS, RANKINGS))
    if caption is None or images is None or ranking is None or not isinstance(row[images], list):
        return None
    if not row[images] or not all(map(_is_picture, row[images])):
        return None
    return f"columns {caption}, {images} (pictures) and {ranking}"


def read_ranking(row: Row) -> Comparison:
    """The comparison of a ranked list; a rank r of K pictures becomes the score K - r, equal ranks are ties."""
    caption = _name(row, CAPTIONS) or "prompt"
    images, ranking = _name(row, LISTS) or "images", _name(row, RANKINGS) or "ranking"
    items, judged = fields.sequence(row, images), fields.sequence(row, ranking)
    if len(items) != len(judged):
        raise InputError(
            "as many judgements as pictures are needed",
            field=ranking,
            found=f"{len(judged)} for {len(items)} pictures in `{images}`",
        )
    candidates = [
        Candidate(
            picture(item, f"{images}[{place}]"), score=score_of(value, ranking, f"{ranking}[{place}]", len(items))
        )
        for place, (item, value) in enumerate(zip(items, judged, strict=True))
    ]
    return comparison(row, fields.text(row, caption), candidates, (caption, images, ranking, *COMMON))


def _is_picture(value: Any) -> bool:
    if isinstance(value, Mapping):
        return set(value) <= {"bytes", "path"} and any(value.values())
    if isinstance(value, str):
        return len(value) < 4096 and PurePath(value).suffix.lower() in SUFFIXES and "\n" not in value
    return isinstance(value, bytes | bytearray)


def _name(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


PAIR = RowFormat(
    name="image_pair",
    title="two pictures for a caption",
    required=("caption", "chosen", "rejected"),
    optional=("prompt", *COMMON),
    recognise=recognise_pair,
    read=read_pair,
    example={"caption": "a red boat", "chosen": "images/17-a.png", "rejected": "images/17-b.png"},
)
PICKAPIC = RowFormat(
    name="pickapic",
    title="Pick-a-Pic",
    required=("caption", "jpg_0", "jpg_1", "label_0"),
    optional=("label_1", "has_label", "model_0", "model_1", *COMMON),
    recognise=recognise_pickapic,
    read=read_pickapic,
    example={"caption": "a red boat", "jpg_0": "17-a.jpg", "jpg_1": "17-b.jpg", "label_0": 0.5},
)
CAPTIONED = RowFormat(
    name="captioned_image",
    title="a picture with its caption",
    required=("caption", "image"),
    optional=("prompt", *COMMON),
    recognise=recognise_captioned,
    read=read_captioned,
    example={"caption": "a red boat", "image": "images/17.png"},
    demonstrations=True,
)
RANKING = RowFormat(
    name="image_ranking",
    title="ranked pictures for a caption (ImageReward)",
    required=("caption", "images", "ranking"),
    optional=("prompt", "generations", "image_paths", "ranks", "scores", *COMMON),
    recognise=recognise_ranking,
    read=read_ranking,
    example={"prompt": "a red boat", "images": ["a.png", "b.png", "c.png"], "ranking": [2, 1, 3]},
)
