"""The bytes of a file, decompressed by what it holds, not by how it is called; failures become clear errors."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from assent.errors import InputError

COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
FOREIGN = {
    b"PK\x03\x04": ("a zip archive", "Unpack it and give the files inside"),
    b"\xfd7zXZ\x00": ("xz-compressed", "Decompress it with `xz -d`"),
    b"SQLite format 3": ("an SQLite database", "Export its table as JSONL or CSV"),
    b"\x80\x04\x95": ("a pickle", "Write it as JSONL: pickles can run code and are never loaded"),
}
UTF16 = (b"\xff\xfe", b"\xfe\xff")
BOM = b"\xef\xbb\xbf"
DAMAGE = (EOFError, OSError, ValueError, zlib.error)
"""What the decompressors raise for a stream that ends early or is damaged."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The decompressed bytes of a file, after a check of how it begins.

    Raises:
        InputError: it cannot be opened, is empty, or is plainly something else than rows of text.
    """
    try:
        stream = path.open("rb")
    except PermissionError:
        raise InputError(
            "the file may not be read", where=str(path), remedy=f"Allow it: chmod u+r {path.name}"
        ) from None
    except OSError as error:
        raise InputError("the file cannot be opened", where=str(path), found=error.strerror) from None
    with stream:
        head = _head(stream, path)
        if not head:
            raise InputError("the file is empty", where=str(path), found="0 bytes", remedy="Was it downloaded whole?")
        _refuse_foreign(head, path)
        compression = next((name for magic, name in COMPRESSIONS.items() if head.startswith(magic)), None)
        yield _decompressed(stream, compression) if compression else stream


def beginning(stream: Any, where: str) -> bytes:
    """The first bytes of a stream that `opened` gave, without moving in it."""
    try:
        return bytes(stream.peek(4)[:4])
    except DAMAGE as error:
        raise cut_short(f"{where}:1", 0, error) from None


def check_text(head: bytes, where: str) -> bytes:
    """The beginning of a text without its byte order mark.

    Raises:
        InputError: it is UTF-16 or another encoding with zero bytes.
    """
    pairs = head[:200]
    if head.startswith(UTF16) or (len(pairs) >= 4 and pairs.count(0) >= len(pairs) // 3):
        raise InputError(
            "the text is UTF-16 (or UTF-32), not UTF-8",
            where=f"{where}:1",
            found=f"bytes {head[:4].hex(' ')}",
            expected="UTF-8",
            remedy=f"Convert it: iconv -f UTF-16 -t UTF-8 {os.path.basename(where)} > utf8.jsonl",
        )
    return head.removeprefix(BOM)


def cut_short(where: str, after: int, error: BaseException) -> InputError:
    """The error for a compressed stream that ends early or is damaged."""
    return InputError(
        "the compressed file is cut short or damaged",
        where=where,
        found=f"{type(error).__name__} after {after:,} whole lines",
        remedy="Download or copy it again; `gzip -t` checks a file",
    )


def _head(stream: IO[bytes], path: Path) -> bytes:
    try:
        head = stream.read(16)
        stream.seek(0)
    except OSError as error:
        raise InputError("the file cannot be read", where=str(path), found=error.strerror or str(error)) from None
    return head


def _decompressed(stream: IO[bytes], compression: str) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=stream)
    # Arrow's stream has no bounded readline, which a line of any length needs.
    import io

    import pyarrow

    return io.BufferedReader(pyarrow.CompressedInputStream(stream, compression))


def _refuse_foreign(head: bytes, path: Path) -> None:
    for magic, (what, remedy) in FOREIGN.items():
        if head.startswith(magic):
            raise InputError(
                f"the file is {what}",
                where=str(path),
                expected="JSONL, JSON, CSV or Parquet, plain or compressed with gzip, zstd or bz2",
                remedy=remedy,
            )
