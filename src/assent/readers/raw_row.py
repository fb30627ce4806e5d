"""A row before it is understood: where it stands, its value or what is wrong with it, and its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from assent.errors import InputError


@dataclass(frozen=True)
class RawRow:
    """One row of a file or table.

    Args:
        file: the file or data set it comes from.
        place: the line, or `row 7` where a file has no lines.
        value: the parsed object, or None where it could not be parsed.
        problem: why it could not be parsed.
        raw: what stands there, for the fingerprint and the quarantine; None for rows of tables.
        size: its length in bytes where `raw` holds only the beginning.
    """

    file: str
    place: str
    value: dict[str, Any] | None
    problem: InputError | None = None
    raw: bytes | None = None
    size: int | None = None

    @property
    def where(self) -> str:
        """The address that messages show."""
        return f"{self.file}:{self.place}"


def located(error: InputError, where: str, remedy: str | None = None, field: str | None = None) -> InputError:
    """The error with the place where it happened; its own remedy wins over the one given."""
    return InputError(
        error.message,
        where=where,
        field=error.field if field is None else field,
        found=error.found,
        expected=error.expected,
        remedy=error.remedy or remedy,
    )
