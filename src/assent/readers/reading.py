"""Reads comparisons from anything: finds the format, converts each row, and accounts for every one of them."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from assent.comparison import Comparison
from assent.errors import InputError
from assent.readers import columns as column_names
from assent.readers.detection import SAMPLE, detect, named
from assent.readers.formats import FORMATS
from assent.readers.media_paths import beside
from assent.readers.quarantine import Quarantine
from assent.readers.raw_row import RawRow, located
from assent.readers.row_format import RowFormat
from assent.readers.sources import QUARANTINED, Part, parts
from assent.readers.table_rows import row_bytes

LEAVE_OUT = "Fix the row, or set bad rows aside with --on-invalid quarantine"


@dataclass(frozen=True)
class ReadResult:
    """Comparisons and the account of how they were read: `rows` is always their number plus `quarantined`.

    Args:
        comparisons: what was read, in the order of the rows.
        format: the name of the row format; several joined by ` + ` if the files of a folder differ.
        reason: why it was taken for that format.
        rows: how many rows there were.
        quarantined: how many of them could not be read.
        quarantine: the file they went to, or None if there were none.
        source: the path or name that was read.
        fingerprint: a hash of the content read and of how it was read.
        origins: where each comparison stands, as `file:line`.
        demonstrations: whether nothing is judged, so that only supervised fine-tuning can use it.
    """

    comparisons: list[Comparison]
    format: str
    reason: str
    rows: int
    quarantined: int
    quarantine: Path | None
    source: str
    fingerprint: str
    origins: list[str] = field(default_factory=list, repr=False)
    demonstrations: bool = False


def read(
    source: Any,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,
    on_invalid: Literal["error", "quarantine"] = "error",
    quarantine: Path | None = None,
    limit: int | None = None,
    name: str | None = None,
    revision: str | None = None,
) -> ReadResult:
    """The comparisons of a source of any known row format.

    Args:
        source: a file, a folder of files, a hub name, or a `datasets.Dataset`.
        split: the split of a data set, or the start of the names of a folder's files.
        columns: our name -> the file's name of a column; overrides detection.
        format: the name of a row format; default: detected.
        on_invalid: whether the first bad row is an error, or bad rows go to a side file with the reason.
        quarantine: that side file; default: beside the source, or here if nothing can be written there.
        limit: stop after so many comparisons.
        name: the configuration of a hub data set.
        revision: the branch, tag or commit of a hub data set.

    Raises:
        InputError: the source cannot be read, its format is not known, a row is bad, or no row is good.
    """
    mapping = dict(columns or {})
    column_names.check_columns(mapping, FORMATS)
    if on_invalid not in ("error", "quarantine"):
        raise InputError("unknown policy", where="data.on_invalid", found=on_invalid, expected="error or quarantine")
    chosen = named(format) if format is not None else None
    aside = Quarantine(quarantine or quarantine_path(source)) if on_invalid == "quarantine" else None
    reading = _Reading(mapping, chosen, aside, limit)
    found = parts(source, split, name, revision)
    try:
        for part in found:
            if limit is not None and len(reading.comparisons) >= limit:
                break
            reading.part(part, several=len(found) > 1)
    finally:
        if aside is not None:
            aside.__exit__()
    return reading.result(str(source) if isinstance(source, str | Path) else type(source).__name__)


def quarantine_path(source: Any) -> Path:
    """The side file for a source: beside a file, if its folder can be written to, else in the current folder."""
    if not isinstance(source, str | Path):
        return Path(type(source).__name__ + QUARANTINED)
    path = Path(source)
    if path.name and path.exists():
        beside = path.with_name(path.name + QUARANTINED)
        return beside if os.access(path.parent, os.W_OK) else Path(beside.name)
    return Path(re.sub(r"[^\w.-]+", "--", str(source)).strip("-.") + QUARANTINED)


class _Reading:
    """The account that is kept while the rows of a source go by."""

    def __init__(
        self, columns: Mapping[str, str], chosen: RowFormat | None, aside: Quarantine | None, limit: int | None
    ) -> None:
        self.columns = columns
        self.chosen = chosen
        self.aside = aside
        self.limit = limit
        self.comparisons: list[Comparison] = []
        self.origins: list[str] = []
        self.rows = 0
        self.found: dict[str, str] = {}
        self.digest = hashlib.sha256(repr(sorted(columns.items())).encode())

    def part(self, part: Part, *, several: bool) -> None:
        """Reads one file or split; a file that cannot be read at all is one bad row if there are others."""
        try:
            self._part(part)
        except InputError as error:
            if self.aside is None or not several:
                raise
            self.rows += 1
            self.aside.add(RawRow(part.name, "0", None), error)

    def _part(self, part: Part) -> None:
        rows = part.rows()
        sample = list(itertools.islice(rows, SAMPLE))
        if not sample:
            raise InputError("the file has no rows, only blank lines", where=part.name)
        row_format = self._format_of(sample)
        for row in itertools.chain(sample, rows):
            self._row(row, row_format)
            if self.limit is not None and len(self.comparisons) >= self.limit:
                return

    def _format_of(self, sample: list[RawRow]) -> RowFormat | None:
        """The format of a part; None if no row of the sample could even be parsed."""
        values = [column_names.rename(row.value, self.columns) for row in sample if row.value is not None]
        if self.chosen is not None:
            self.found[self.chosen.name] = "chosen by name"
            return self.chosen
        if not values:
            return None
        first = next(row.where for row in sample if row.value is not None)
        row_format, reason = detect(values, first)
        self.found.setdefault(row_format.name, reason)
        return row_format

    def _row(self, row: RawRow, row_format: RowFormat | None) -> None:
        self.rows += 1
        self.digest.update(row.raw if row.raw is not None else row_bytes(row.value or {}))
        self.digest.update(b"\n")
        try:
            found = self._comparisons(row, row_format)
        except InputError as error:
            if self.aside is None:
                raise located(error, row.where, LEAVE_OUT) from None
            self.aside.add(row, error)
            return
        if self.limit is not None:
            found = found[: self.limit - len(self.comparisons)]
        self.comparisons += found
        self.origins += [row.where] * len(found)

    def _comparisons(self, row: RawRow, row_format: RowFormat | None) -> list[Comparison]:
        if row.problem is not None:
            raise row.problem
        if row_format is None or row.value is None:
            raise InputError("no row before this one could be parsed, so the format is not known")
        try:
            return [beside(one, row.file) for one in converted(row.value, row_format, self.columns)]
        except RecursionError:
            raise InputError("nested too deeply") from None
        except OverflowError as error:
            raise InputError("a number too large", found=str(error)[:80]) from None

    def result(self, source: str) -> ReadResult:
        """The account, once every row has gone by.

        Raises:
            InputError: not one row could be read.
        """
        aside = self.aside
        if not self.comparisons:
            raise InputError(
                "not one row could be read",
                where=source,
                found=f"{self.rows:,} bad rows",
                remedy=f"The reasons are in {aside.path}" if aside is not None and aside.count else None,
            )
        names = " + ".join(self.found)
        self.digest.update(names.encode())
        demonstrations = all(named(name).demonstrations for name in self.found)
        return ReadResult(
            comparisons=self.comparisons,
            format=names,
            reason="; ".join(self.found.values()),
            rows=self.rows,
            quarantined=0 if aside is None else aside.count,
            quarantine=aside.path if aside is not None and aside.count else None,
            source=source,
            fingerprint=self.digest.hexdigest(),
            origins=self.origins,
            demonstrations=demonstrations,
        )


def converted(value: Mapping[str, Any], row_format: RowFormat, columns: Mapping[str, str]) -> list[Comparison]:
    """The comparisons of a row in a known format; errors name the field as the file calls it."""
    try:
        return row_format.all_of(column_names.rename(value, columns))
    except InputError as error:
        raise located(error, error.where or "", None, _file_name(error.field, columns)) from None


def _file_name(field_name: str | None, columns: Mapping[str, str]) -> str | None:
    if field_name is None:
        return None
    ours = re.split(r"[.\[]", field_name, maxsplit=1)[0]
    return columns.get(ours, ours) + field_name[len(ours) :]
