"""The options that every command over preference data has, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from assent.errors import InputError

if TYPE_CHECKING:
    from assent.readers import ReadResult

Source = Annotated[str, typer.Argument(help="A file, a folder of files, or a hub name.")]
Split = Annotated[str | None, typer.Option(help="Split of a data set, or how the names of the files start.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="prompt=question: our name, then the file's; may be repeated.")
]
Format = Annotated[str | None, typer.Option("--format", help="Row format; default: detected.")]
OnInvalid = Annotated[
    Literal["error", "quarantine"], typer.Option(help="Bad rows are an error, or go to a side file with the reason.")
]
QuarantinePath = Annotated[
    Path | None, typer.Option(help="That side file; default: FILE.quarantine.jsonl beside the file.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Read only so many records from the start.")]


def columns_of(given: list[str] | None) -> dict[str, str]:
    """The mapping that `--column ours=theirs` gives."""
    mapping: dict[str, str] = {}
    for item in given or []:
        ours, equals, theirs = item.partition("=")
        if not (ours and equals and theirs):
            raise InputError(
                "not a mapping of a column", where="--column", found=item, expected="OURS=THEIRS, as prompt=question"
            )
        mapping[ours.strip()] = theirs.strip()
    return mapping


def read_source(
    file: str,
    split: str | None,
    column: list[str] | None,
    format_name: str | None,
    on_invalid: Literal["error", "quarantine"],
    quarantine: Path | None,
    limit: int | None,
) -> ReadResult:
    """The comparisons that these options ask for; says on stderr if rows were set aside."""
    from assent.readers import read

    result = read(
        file,
        split=split,
        columns=columns_of(column),
        format=format_name,
        on_invalid=on_invalid,
        quarantine=quarantine,
        limit=limit,
    )
    say_quarantined(result)
    return result


def say_quarantined(result: Any) -> None:
    """A line on stderr if rows were set aside."""
    if result.quarantined:
        message = f"{result.quarantined:,} of {result.rows:,} rows could not be read; see {result.quarantine}"
        Console(stderr=True, highlight=False).print(Text(message, style="yellow"), soft_wrap=True)
