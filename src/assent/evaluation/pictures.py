"""Folders of pictures: which there are, what each was asked for, and which belong together before and after.

Captions stand in a `metadata.jsonl` or `metadata.csv` beside the pictures, one row a picture with `file_name` and
`prompt`, `text` or `caption`, as image folders of `datasets` have them. Pictures of two folders belong together when
they have the same name: drawn from the same prompt and seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assent.comparison import Media
from assent.encoding.images import load_image
from assent.errors import InputError
from assent.readers.formats.images import SUFFIXES
from assent.readers.raw_row import located
from assent.readers.sources import file_rows

CAPTIONS = ("prompt", "text", "caption")
METADATA = ("metadata.jsonl", "metadata.csv")


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a folder, by name.

    Args:
        folder: where they are.
        names: paths inside it, sorted.
        captions: of each, None where nothing says it.
        ignored: how many other files lie there.
    """

    folder: Path
    names: tuple[str, ...]
    captions: tuple[str | None, ...]
    ignored: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def media(self) -> list[Media]:
        """The pictures, not opened yet."""
        return [Media("image", path=str(self.folder / name)) for name in self.names]

    def captioned(self) -> list[str]:
        """The captions, which must all be there."""
        without = [name for name, caption in zip(self.names, self.captions, strict=True) if caption is None]
        if without:
            raise InputError(
                "a score of pictures under their captions needs the captions",
                where=str(self.folder),
                found=f"{len(without)} of {len(self)} pictures have none, the first is {without[0]}",
                expected='metadata.jsonl beside them with rows like {"file_name": "0.png", "prompt": "a red boat"}',
            )
        return [caption for caption in self.captions if caption is not None]


def read_picture_folder(folder: Path) -> PictureFolder:
    """The pictures in a folder and below it.

    Raises:
        InputError: no folder, no picture in it, or captions of pictures that are not there.
    """
    if not folder.is_dir():
        raise InputError("no such folder of pictures", where=str(folder))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    names = [str(path.relative_to(folder)) for path in files if path.suffix.lower() in SUFFIXES]
    others = len(files) - len(names) - sum(path.name in METADATA for path in files)
    if not names:
        raise InputError(
            "no picture in this folder",
            where=str(folder),
            found=f"{others} other files",
            expected=f"files that end in {', '.join(SUFFIXES)}",
        )
    told = _captions(folder, set(names))
    return PictureFolder(folder, tuple(names), tuple(told.get(name) for name in names), others)


def check_pictures(folder: PictureFolder) -> None:
    """Opens every picture; raises for the first that cannot be read, by its path."""
    for name, media in zip(folder.names, folder.media(), strict=True):
        load_image(media, str(folder.folder / name))


def matched(before: PictureFolder, after: PictureFolder) -> None:
    """Raises unless both folders hold the same pictures of the same captions."""
    only = sorted(set(before.names) ^ set(after.names))
    if only:
        raise InputError(
            "pictures before and after are compared by name",
            where=f"{before.folder} and {after.folder}",
            found=f"{len(only)} that only one of them has, the first is {only[0]}",
            expected="the same names: the same prompts and seeds",
        )
    for name, one, other in zip(before.names, before.captions, after.captions, strict=True):
        if one is not None and other is not None and one != other:
            raise InputError(
                "a picture has one caption before and after",
                where=name,
                found=f"{one[:60]!r} and {other[:60]!r}",
            )


def _captions(folder: Path, names: set[str]) -> dict[str, str]:
    path = next((folder / name for name in METADATA if (folder / name).is_file()), None)
    if path is None:
        return {}
    found: dict[str, str] = {}
    for row in file_rows(path, str(path)):
        if row.problem is not None or row.value is None:
            raise located(row.problem or InputError("no row"), row.where)
        name, caption = _named(row.value, row.where)
        if name not in names:
            raise InputError(
                "a caption of a picture that is not there", where=row.where, field="file_name", found=name[:80]
            )
        if found.setdefault(name, caption) != caption:
            raise InputError("two captions of one picture", where=row.where, field="file_name", found=name[:80])
    return found


def _named(row: Mapping[str, Any], where: str) -> tuple[str, str]:
    name, caption = row.get("file_name"), _first(row, CAPTIONS)
    if isinstance(caption, int | float):  # the number of a class, as tables hold it
        caption = f"{caption:g}"
    if not isinstance(name, str) or not isinstance(caption, str):
        raise InputError(
            "not a picture's caption",
            where=where,
            found=f"columns {', '.join(map(str, row))}"[:200],
            expected=f"file_name and one of {', '.join(CAPTIONS)}, both text",
        )
    return name, caption


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
