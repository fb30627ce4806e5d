"""`assent data convert`: any known format into Assent's own form or TRL's rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.text import Text

from assent.cli.data_source import (
    Columns,
    Format,
    Limit,
    OnInvalid,
    QuarantinePath,
    Source,
    Split,
    read_source,
)
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.comparison import Comparison

Pairs = Literal["best_worst", "all", "adjacent"]


def register(group: typer.Typer) -> None:
    """Adds the command to `assent data`."""
    group.command("convert")(convert)


def convert(
    file: Source,
    out: Annotated[Path, typer.Argument(help="The file to write; .jsonl, .jsonl.gz or .parquet.")],
    to: Annotated[
        Literal["canonical", "parquet", "trl", "trl-unpaired"],
        typer.Option(help="canonical and parquet keep everything; trl and trl-unpaired are the rows TRL reads."),
    ] = "canonical",
    pairs: Annotated[Pairs, typer.Option(help="For trl: which pairs are made of a list.")] = "best_worst",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
    split: Split = None,
    column: Columns = None,
    format_name: Format = None,
    on_invalid: OnInvalid = "error",
    quarantine: QuarantinePath = None,
    limit: Limit = None,
) -> None:
    """Writes a file of any known format as canonical JSONL or Parquet, or as TRL's rows.

    Comparisons that TRL's rows cannot hold (nothing is preferred, two prompts, no text) are left out and counted.

    Examples:

      assent data convert hh.jsonl.gz prefs.jsonl

      assent data convert lists.jsonl pairs.jsonl --to trl --pairs adjacent
    """
    from assent.readers import write_jsonl, write_parquet, write_rows

    if out.exists() and not overwrite:
        raise InputError("the file is there already", where=str(out), remedy="Give another name, or --overwrite")
    result = read_source(file, split, column, format_name, on_invalid, quarantine, limit)
    left_out: Counter[str] = Counter()
    if to in ("trl", "trl-unpaired"):
        if out.suffix == ".parquet":
            raise InputError("TRL's rows are written as JSONL", where=str(out), expected=".jsonl or .jsonl.gz")
        count = write_rows(_trl_rows(result.comparisons, to, pairs, left_out), out)
    elif to == "parquet" or out.suffix == ".parquet":
        count = write_parquet(result.comparisons, out)
    else:
        count = write_jsonl(result.comparisons, out)
    console = Console(stderr=True, highlight=False)
    console.print(Text(f"{count:,} rows of {len(result.comparisons):,} comparisons written to {out}"), soft_wrap=True)
    for reason, number in left_out.most_common():
        console.print(Text(f"left out {number:,}: {reason}", style="yellow"), soft_wrap=True)


def _trl_rows(
    comparisons: list[Comparison], to: str, pairs: Pairs, left_out: Counter[str]
) -> Iterator[dict[str, Any]]:
    from assent.readers import to_trl, to_trl_unpaired

    for comparison in comparisons:
        try:
            rows = to_trl(comparison, pairs) if to == "trl" else to_trl_unpaired(comparison)
        except InputError as error:
            left_out[error.message] += 1
            continue
        if not rows:
            left_out["nothing is preferred or labelled (tied, or not judged)"] += 1
        yield from rows
