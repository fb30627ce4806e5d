"""Rows of a benchmark from local files (JSONL, JSON, Parquet, gzip), each with where it came from."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assent.errors import InputError


def benchmark_rows(files: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of all files in order; `_where` names the file and line, `_file` the file's stem."""
    rows = [row for path in files for row in _rows(path)]
    if not rows:
        raise InputError("a benchmark without rows", where=", ".join(map(str, files)) or "no file")
    return rows


def text_field(row: Mapping[str, Any], *names: str) -> str:
    """The first of the named fields that is there; raises where none is a text."""
    for name in names:
        if isinstance(row.get(name), str):
            return str(row[name])
    raise InputError(
        "a row of the benchmark lacks a text",
        where=row["_where"],
        field=names[0],
        found=", ".join(key for key in row if not key.startswith("_")),
        expected=" or ".join(names),
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise InputError("no such file", where=str(path))
    name = path.name.removesuffix(".gz")
    stem = Path(name).stem
    for line, row in _parsed(path, name):
        if not isinstance(row, dict):
            raise InputError("a row is an object", where=f"{path}:{line}", found=type(row).__name__)
        yield {**row, "_where": f"{path}:{line}", "_file": stem}


def _parsed(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    if name.endswith(".parquet"):
        import pyarrow.parquet

        try:
            yield from enumerate(pyarrow.parquet.read_table(path).to_pylist(), start=1)
        except (OSError, pyarrow.ArrowException) as error:
            raise InputError("not a Parquet file", where=str(path), found=str(error)[:120]) from None
        return
    raw = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise InputError("not a text in UTF-8", where=str(path), found=str(error)[:120]) from None
    if name.endswith(".json"):
        yield from enumerate(_whole(path, text), start=1)
        return
    for line, part in enumerate(text.split("\n"), start=1):
        if part.strip():
            try:
                yield line, json.loads(part)
            except ValueError as error:
                raise InputError("not JSON", where=f"{path}:{line}", found=str(error)) from None


def _whole(path: Path, text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError("not JSON", where=str(path), found=str(error)) from None
    if not isinstance(value, list):
        raise InputError("a JSON file of a benchmark is a list of rows", where=str(path), found=type(value).__name__)
    return value
