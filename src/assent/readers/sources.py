"""Where rows come from: a file, a folder of files, a data set on disk, on the hub, or in memory."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assent.errors import InputError
from assent.readers.bytes_of import beginning, opened
from assent.readers.json_rows import json_rows
from assent.readers.raw_row import RawRow
from assent.readers.table_rows import csv_rows, mapping_rows, parquet_rows, suffix_delimiter

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
COMPRESSED = (".gz", ".zst", ".bz2")
QUARANTINED = ".quarantine.jsonl"
ON_DISK = ("state.json", "dataset_dict.json")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Part:
    """A part of a source that has one format: a file, or one split of a data set."""

    name: str
    rows: Callable[[], Iterator[RawRow]]


def parts(source: Any, split: str | None, name: str | None, revision: str | None) -> list[Part]:
    """The parts of a source, in a fixed order.

    Raises:
        InputError: nothing of that name is there, or nothing in it can be read.
    """
    if not isinstance(source, str | Path):
        return [_dataset_part(source, split, type(source).__name__)]
    path = Path(source).expanduser()
    try:
        if path.is_dir():
            return _folder_parts(path, split)
        if path.exists():
            return [Part(str(source), lambda: file_rows(path, str(source)))]
    except PermissionError:
        raise InputError("the file may not be read", where=str(source)) from None
    except (OSError, ValueError) as error:
        raise InputError("not a path that a file can have", where=str(source)[:200], found=str(error)[:80]) from None
    if _is_hub_name(str(source), path):
        return [_hub_part(str(source), split, name, revision)]
    raise _missing(str(source), path)


def file_rows(path: Path, name: str) -> Iterator[RawRow]:
    """The rows of a file by what it holds: Parquet by its first bytes, CSV by its name, else JSON."""
    with opened(path) as stream:
        peeked = beginning(stream, name)
        if peeked == PARQUET_MAGIC:
            yield from parquet_rows(stream, name)
        elif {".csv", ".tsv"} & set(path.suffixes):
            yield from csv_rows(stream, name, suffix_delimiter(path))
        elif ".parquet" in path.suffixes:
            raise InputError(
                "not a Parquet file although it is called one", where=name, found=f"it begins with {peeked!r}"
            )
        else:
            yield from json_rows(stream, name)


def _folder_parts(folder: Path, split: str | None) -> list[Part]:
    if any((folder / marker).exists() for marker in ON_DISK):
        return [_loaded_part(folder, split)]
    files = sorted(path for path in folder.rglob("*") if _holds_rows(path))
    chosen = [path for path in files if split is None or _of_split(path.relative_to(folder), split)]
    if not files:
        names = sorted(path.name for path in folder.iterdir())[:8]
        raise InputError(
            "the folder holds no file of rows",
            where=str(folder),
            found=", ".join(names) or "nothing",
            expected=f"files that end in {', '.join(KINDS)}, plain or with {', '.join(COMPRESSED)}",
        )
    if not chosen:
        raise InputError(
            "no file of the folder belongs to the split",
            where=str(folder),
            field="split",
            found=", ".join(str(path.relative_to(folder)) for path in files[:8]),
            expected=f"a name that starts with `{split}`",
        )
    return [Part(str(path), lambda path=path: file_rows(path, str(path))) for path in chosen]  # type: ignore[misc]


def _holds_rows(path: Path) -> bool:
    if path.name.startswith(".") or path.name.endswith(QUARANTINED) or not path.is_file():
        return False
    name = path.with_suffix("") if path.suffix in COMPRESSED else path
    return name.suffix in KINDS and path.name not in ("dataset_info.json", "dataset_infos.json")


def _of_split(path: Path, split: str) -> bool:
    return path.name.startswith(split) or split in path.parts[:-1]


def _loaded_part(folder: Path, split: str | None) -> Part:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # the library raises anything, from its own errors to Arrow's and OSError
        raise InputError(
            "the data set in the folder cannot be loaded",
            where=str(folder),
            found=f"{type(error).__name__}: {_first_line(error)}",
        ) from None
    return _dataset_part(loaded, split, str(folder))


def _hub_part(name: str, split: str | None, configuration: str | None, revision: str | None) -> Part:
    import datasets

    try:
        loaded = datasets.load_dataset(name, configuration, revision=revision)
    except Exception as error:  # network, hub, Arrow and script errors have no common class
        raise InputError(
            "neither a file here nor a data set that could be loaded from the hub",
            where=name,
            found=f"{type(error).__name__}: {_first_line(error)}",
            remedy=f"Check the name; this folder has {', '.join(_neighbours(Path(name))) or 'no such file'}",
        ) from None
    return _dataset_part(loaded, split, name)


def _dataset_part(loaded: Any, split: str | None, name: str) -> Part:
    if isinstance(loaded, Mapping):
        splits = list(loaded)
        chosen = split or (splits[0] if len(splits) == 1 else "train")
        if chosen not in loaded:
            raise InputError(
                "no such split" if split else "several splits and none chosen",
                where=name,
                field="split",
                found=split or ", ".join(splits),
                expected=" or ".join(splits),
            )
        return Part(f"{name}[{chosen}]", lambda: mapping_rows(loaded[chosen], f"{name}[{chosen}]"))
    if not hasattr(loaded, "__iter__"):
        raise InputError(
            "not a source of rows", found=type(loaded).__name__, expected="a path, a hub name or a datasets.Dataset"
        )
    return Part(name, lambda: mapping_rows(loaded, name))


def _is_hub_name(source: str, path: Path) -> bool:
    """Whether a name that is no file may be meant for the hub: `org/name`, no suffix of a file, no folder of ours."""
    if not HUB_NAME.fullmatch(source) or {*KINDS, *COMPRESSED} & set(path.suffixes):
        return False
    return "/" in source and not path.parent.is_dir()


def _missing(source: str, path: Path) -> InputError:
    near = _neighbours(path)
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"The folder {folder} has no file of a similar name"
    if path.parent != folder:
        remedy = f"The folder {path.parent} does not exist"
    return InputError("there is no such file", where=source, remedy=remedy)


def _neighbours(path: Path) -> list[str]:
    try:
        names = [entry.name for entry in path.parent.iterdir() if _holds_rows(entry) or entry.is_dir()]
    except OSError:
        return []
    return [str(path.parent / name) for name in difflib.get_close_matches(path.name, names, 3, 0.75)]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:160]
