"""Rows of tables: Parquet, CSV and TSV, and data sets of the `datasets` library."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from assent.errors import InputError
from assent.readers.bytes_of import DAMAGE, check_text, cut_short
from assent.readers.json_rows import LONGEST_LINE, parsed
from assent.readers.raw_row import RawRow

BATCH = 1024
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False, "null": None}
TEXT_COLUMNS = (
    "prompt",
    "chosen",
    "rejected",
    "completion",
    "response",
    "question",
    "instruction",
    "output",
    "answer",
)
"""Columns of a CSV whose cells stay text even if they look like a number: "42" may be the answer."""


def parquet_rows(stream: IO[bytes], file: str) -> Iterator[RawRow]:
    """The rows of a Parquet file, a batch at a time."""
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(stream if _seekable(stream) else io.BytesIO(stream.read()))
        number = 0
        for batch in table.iter_batches(batch_size=BATCH):
            for row in batch.to_pylist():
                number += 1
                yield RawRow(file, f"row {number}", row)
    except (pyarrow.ArrowException, *DAMAGE) as error:
        raise InputError(
            "the Parquet file is cut short or damaged",
            where=file,
            found=str(error).splitlines()[0][:120],
            remedy="Download or copy it again",
        ) from None
    if number == 0:
        raise InputError("the table has no rows", where=file, found=f"columns {', '.join(table.schema_arrow.names)}")


def csv_rows(stream: IO[bytes], file: str, delimiter: str) -> Iterator[RawRow]:
    """The rows of a CSV or TSV file with a header; cells that hold JSON, numbers or true/false are read as such."""
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(_decoded(stream, file), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = InputError("broken CSV", found=str(error), remedy="Quote cells that hold quotes or line ends")
            yield RawRow(file, str(start), None, problem, b"")
            continue
        if not any(cells):
            continue
        if header is None:
            header = _header(cells, file)
        else:
            yield _csv_row(header, cells, file, start, delimiter)


def mapping_rows(rows: Iterable[Mapping[str, Any]], file: str) -> Iterator[RawRow]:
    """The rows of anything that gives mappings, such as a data set."""
    for index, row in enumerate(rows):
        yield RawRow(file, f"row {index + 1}", dict(row))


def row_bytes(value: Mapping[str, Any]) -> bytes:
    """The bytes that stand for a row of a table in fingerprints and quarantines."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=repr).encode(errors="backslashreplace")


def _seekable(stream: Any) -> bool:
    return isinstance(stream, io.BufferedReader) and stream.seekable()


def _decoded(stream: IO[bytes], file: str) -> Iterator[str]:
    number = 0
    try:
        for line in stream:
            number += 1
            yield (check_text(line, file) if number == 1 else line).decode()
    except UnicodeDecodeError as error:
        raise InputError(
            "the line is not UTF-8",
            where=f"{file}:{number}",
            found=f"byte 0x{error.object[error.start]:02x} at column {error.start + 1}",
            remedy="Save the file as UTF-8 (iconv -f LATIN1 -t UTF-8)",
        ) from None
    except DAMAGE as error:
        raise cut_short(f"{file}:{number + 1}", number, error) from None


def _header(cells: list[str], file: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or "" in names:
        raise InputError(
            "the header needs a name of its own for every column",
            where=f"{file}:1",
            field=twice,
            found=", ".join(names)[:200],
        )
    return names


def _csv_row(header: list[str], cells: list[str], file: str, line: int, delimiter: str) -> RawRow:
    raw = delimiter.join(cells).encode(errors="backslashreplace")
    if len(cells) != len(header):
        problem = InputError(
            "as many cells as columns are needed", found=f"{len(cells)} cells", expected=f"{len(header)} columns"
        )
        return RawRow(file, str(line), None, problem, raw)
    try:
        value = {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True)}
        return RawRow(file, str(line), value, None, raw)
    except InputError as error:
        return RawRow(file, str(line), None, error, raw)


def _cell(name: str, cell: str) -> Any:
    if cell[:1] in ("[", "{") and cell[-1:] in ("]", "}"):
        try:
            value = parsed(cell)
        except InputError:
            return cell
        # A text in brackets is a text; only objects and lists of them can be messages or scores.
        return value if not isinstance(value, list) or name not in TEXT_COLUMNS or fields_like(value) else cell
    if name in TEXT_COLUMNS:
        return cell
    if cell in WORDS:
        return WORDS[cell]
    if cell == "":
        return None
    return float(cell) if NUMBER.fullmatch(cell) else cell


def fields_like(value: list[Any]) -> bool:
    """Whether a list holds objects only, as messages do."""
    return bool(value) and all(isinstance(item, Mapping) for item in value)


def suffix_delimiter(path: Path) -> str:
    """The delimiter that a file's name promises."""
    return "\t" if ".tsv" in path.suffixes else ","
