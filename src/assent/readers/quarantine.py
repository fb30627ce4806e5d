"""The side file of rows that could not be read: each with its file, line and reason, none lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

from assent.errors import InputError
from assent.readers.raw_row import RawRow
from assent.readers.table_rows import row_bytes


class Quarantine:
    """Writes bad rows as they come; the file is made with the first of them.

    Args:
        path: the side file; an older one is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._stream: IO[str] | None = None

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def add(self, row: RawRow, problem: InputError) -> None:
        """Writes one bad row with the reason."""
        raw = row_bytes(row.value) if row.raw is None and row.value is not None else row.raw or b""
        entry: dict[str, Any] = {
            "file": row.file,
            "line": int(row.place) if row.place.isdigit() else row.place,
            "reason": str(problem),
            "field": problem.field,
            "raw": raw.decode(errors="backslashreplace"),
        }
        if row.size is not None:
            entry["raw_cut_from_bytes"] = row.size
        self._open().write(json.dumps(entry) + "\n")
        self.count += 1

    def _open(self) -> IO[str]:
        if self._stream is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self.path.open("w", encoding="utf-8")
            except OSError as error:
                raise InputError(
                    "the quarantine file cannot be written",
                    where=str(self.path),
                    found=error.strerror,
                    remedy="Say where it may go with --quarantine PATH",
                ) from None
        return self._stream
