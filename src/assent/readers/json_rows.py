"""Rows of JSON: one object a line, or one array, or objects one after another over several lines.

A file is read line by line, in memory bounded by its longest line. A line that is too long, not UTF-8 or not JSON is
one bad row; the lines after it are read. Nothing after a mistake inside an array can be told apart, so there
everything that follows is one bad row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

from assent.errors import InputError
from assent.readers import fields
from assent.readers.bytes_of import DAMAGE, check_text, cut_short
from assent.readers.raw_row import RawRow

LONGEST_LINE = 32 * 1024 * 1024
KEPT_OF_LONG_LINE = 2000
SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
SPACE = re.compile(r"[\s,]*")


def json_rows(stream: IO[bytes], file: str) -> Iterator[RawRow]:
    """The rows of a JSON file, whichever of the layouts it has."""
    try:
        first = stream.readline(LONGEST_LINE + 1)
    except DAMAGE as error:
        raise cut_short(f"{file}:1", 0, error) from None
    first = check_text(first, file)
    if _spans_lines(first):
        yield from _values(first, stream, file)
    else:
        yield from _lines(first, stream, file)


def parsed(text: str) -> Any:
    """The value of a JSON text; unlike json.loads it refuses keys that stand twice, which would lose one of them.

    Raises:
        InputError: the text is not JSON, or goes beyond what a row may hold.
    """
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"broken JSON: {error.msg[0].lower()}{error.msg[1:]}",
            found=f"column {error.colno}: {fields.shown(text[max(0, error.pos - 20) : error.pos + 20])}",
        ) from None
    except RecursionError:
        raise InputError("JSON nested too deeply", found=f"{text.count('['):,} brackets") from None
    except ValueError as error:
        raise InputError("a number too long to read", found=str(error)[:80]) from None


def checked_row(value: Any, raw: bytes) -> dict[str, Any]:
    """The object of a row.

    Raises:
        InputError: the row is not an object, or holds text that no encoding can write.
    """
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a string", type(None): "null", bool: "true or false"}.get(
            type(value), "a number"
        )
        raise InputError("a row is an object with named fields", found=f"{kind}: {fields.shown(value)}")
    if SURROGATE.search(raw):
        for name, item in value.items():
            _refuse_lone_surrogates(item, name)
            _refuse_lone_surrogates(name, "a field's name")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError("a field stands twice in one object", field=twice, found=f"{names.count(twice)} times")
    return result


DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _lines(first: bytes, stream: IO[bytes], file: str) -> Iterator[RawRow]:
    number, line = 1, first
    while line:
        if len(line) > LONGEST_LINE:
            size = len(line) + _skipped(stream, line)
            yield RawRow(file, str(number), None, _too_long(size), line[:KEPT_OF_LONG_LINE], size)
        elif line.strip():
            yield _row(line.strip(), file, number)
        number += 1
        try:
            line = stream.readline(LONGEST_LINE + 1)
        except DAMAGE as error:
            where = f"{file}:{number}"
            yield RawRow(file, str(number), None, cut_short(where, number - 1, error), b"")
            return


def _row(line: bytes, file: str, number: int) -> RawRow:
    try:
        return RawRow(file, str(number), checked_row(parsed(_text(line)), line), None, line)
    except InputError as error:
        return RawRow(file, str(number), None, error, line)


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            "the line is not UTF-8",
            found=f"byte 0x{line[error.start]:02x} at column {error.start + 1}",
            remedy="Save the file as UTF-8 (iconv -f LATIN1 -t UTF-8)",
        ) from None


def _spans_lines(first: bytes) -> bool:
    """Whether a file that starts so is not one object a line: an array, or an object written over several lines."""
    start = first.strip()
    if start == b"{":
        return True
    if not start.startswith(b"["):
        return False
    try:
        value = json.loads(start)
    except (ValueError, RecursionError):
        return start == b"[" or start[1:].lstrip().startswith(b"{")
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _values(first: bytes, stream: IO[bytes], file: str) -> Iterator[RawRow]:
    try:
        content = first + stream.read()
    except DAMAGE as error:
        raise cut_short(f"{file}:1", 0, error) from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError("the file is not UTF-8", where=f"{file}:{line}", remedy="Save it as UTF-8") from None
    rows = _wrapped_rows(text)
    array = text.lstrip().startswith("[") or rows is not None
    position = rows if rows is not None else len(text) - len(text.lstrip()) + int(array)
    yield from _walk(text, position, array, file)


def _walk(text: str, position: int, array: bool, file: str) -> Iterator[RawRow]:
    line, counted, closed = 1, 0, not array
    while True:
        position = SPACE.match(text, position).end()  # type: ignore[union-attr]  # the pattern matches anything
        if position >= len(text) or (array and text[position] == "]"):
            closed = closed or position < len(text)
            break
        line, counted = line + text.count("\n", counted, position), position
        row, end = _value_at(text, position, file, line)
        yield row
        if end is None:
            return
        position = end
    if not closed:
        problem = InputError("broken JSON: the array has no end", remedy="Was the file written or copied whole?")
        yield RawRow(file, str(text.count("\n") + 1), None, problem, b"")


def _value_at(text: str, position: int, file: str, line: int) -> tuple[RawRow, int | None]:
    """The row that starts at a position, and where it ends; None where that cannot be told."""
    try:
        _, end = json.JSONDecoder().raw_decode(text, position)
    except (ValueError, RecursionError) as error:
        found = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]
        remedy = "Nothing after this place can be read; write one object a line (JSONL) to lose only bad rows"
        problem = InputError("broken JSON", found=found, remedy=remedy)
        return RawRow(file, str(line), None, problem, text[position:].encode(errors="surrogatepass")), None
    raw = text[position:end].encode(errors="surrogatepass")
    try:
        return RawRow(file, str(line), checked_row(parsed(text[position:end]), raw), None, raw), end
    except InputError as error:
        return RawRow(file, str(line), None, error, raw), end


def _wrapped_rows(text: str) -> int | None:
    """Where the rows start in an object whose one list of objects holds them (`{"data": [...]}`), or None."""
    start = re.match(r'\s*\{\s*"(data|rows|examples|train|instances|records)"\s*:\s*\[', text)
    return start.end() if start else None


def _skipped(stream: IO[bytes], line: bytes) -> int:
    """The bytes up to the end of the line, read in pieces so that memory stays bounded."""
    size = 0
    while line and not line.endswith(b"\n"):
        try:
            line = stream.readline(1 << 20)
        except DAMAGE:
            break
        size += len(line)
    return size


def _too_long(size: int) -> InputError:
    return InputError(
        "the line is too long for a row",
        found=f"{size / 1e6:,.0f} MB",
        expected=f"at most {LONGEST_LINE / 1e6:,.0f} MB",
        remedy="Are line ends missing? Keep images and sound in files of their own and give their paths",
    )


def _refuse_lone_surrogates(value: Any, name: str) -> None:
    if isinstance(value, str):
        found = LONE_SURROGATE.search(value)
        if found:
            raise InputError(
                "half a character: a lone surrogate cannot be encoded",
                field=name,
                found=f"\\u{ord(found[0]):04x} at character {found.start() + 1}",
                remedy="A text was cut inside an emoji; cut it at a whole character",
            )
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_lone_surrogates(item, f"{name}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_lone_surrogates(item, f"{name}[{index}]")
