"""What builders share on the command line: the input read with a bar, the output written whole, the counts said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from assent.cli import paid_work
from assent.comparison import Comparison
from assent.errors import InputError

Source = Annotated[Path, typer.Argument(help="Comparisons: our own rows, or any format that Assent reads.")]
Output = Annotated[Path, typer.Argument(help="JSONL of comparisons.")]


def opened(source: Path, out: Path) -> list[Comparison]:
    """The comparisons of the source; an error if the output is there already, or the source empty."""
    paid_work.refuse_existing(out)
    with Console(stderr=True).status("reading"):
        comparisons = paid_work.read_comparisons(source)
    if not comparisons:
        raise InputError("no comparisons", where=str(source))
    return comparisons


def finished(
    out: Path, comparisons: Sequence[Comparison], read: int, left_out: Mapping[str, int], **more: Any
) -> None:
    """Writes the comparisons and prints the account of them; nothing made at all is an error that says why."""
    if not comparisons:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in left_out.items()) or "no reason known"
        raise InputError("nothing could be made, and nothing was written", where=str(out), found=reasons)
    written = paid_work.write_rows(out, comparisons)
    account = {"read": read, "written": written, "left_out": dict(left_out), **more, "out": str(out)}
    typer.echo(json.dumps(account, indent=1))
