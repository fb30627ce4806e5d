"""`assent data audit`: names the records that one should look at, and writes the set without them if asked to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

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

SHOWN = 5


def register(group: typer.Typer) -> None:
    """Adds the command to `assent data`."""
    group.command("audit")(audit)


def audit(
    file: Source,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
    near: Annotated[
        float, typer.Option(min=0, max=1, help="Similarity from which records are near duplicates; 0: do not look.")
    ] = 0.8,
    clean: Annotated[
        Path | None, typer.Option(help="Write the records without findings here, in canonical form.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="A kind of finding that --clean keeps, as tie; may be repeated.")
    ] = None,
    split: Split = None,
    column: Columns = None,
    format_name: Format = None,
    on_invalid: OnInvalid = "error",
    quarantine: QuarantinePath = None,
    limit: Limit = None,
) -> None:
    """Lists ties, identical candidates, empty completions, exact and near duplicates and contradictions by line.

    Of duplicates the first record stays; of a contradiction the later record is named, and the earlier one beside it.

    Examples:

      assent data audit prefs.jsonl

      assent data audit prefs.jsonl --clean clean.jsonl --keep tie
    """
    from assent.evaluation.data_findings import KINDS, findings
    from assent.readers import write_jsonl

    unknown = next((kind for kind in keep or [] if kind not in KINDS), None)
    if unknown is not None:
        raise InputError("no such kind of finding", where="--keep", found=unknown, expected=", ".join(KINDS))
    if clean is not None and clean.exists():
        raise InputError("the file is there already", where=str(clean), remedy="Give another name")
    result = read_source(file, split, column, format_name, on_invalid, quarantine, limit)
    found = findings(result.comparisons, near or None)
    rows = [
        {
            "where": result.origins[finding.index],
            "kind": finding.kind,
            "of": None if finding.of is None else result.origins[finding.of],
        }
        for finding in found
    ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        _show(rows, len(result.comparisons), Console(highlight=False))
    if clean is not None:
        bad = {finding.index for finding in found if finding.kind not in (keep or [])}
        left = [comparison for index, comparison in enumerate(result.comparisons) if index not in bad]
        if not left:
            raise InputError("no record is without a finding", where=str(file), remedy="Keep a kind with --keep")
        write_jsonl(left, clean)
        typer.echo(f"{len(left):,} of {len(result.comparisons):,} records written to {clean}", err=True)


def _show(rows: list[dict[str, Any]], total: int, console: Console) -> None:
    from assent.cli.data_tables import clean as printable
    from assent.evaluation.data_findings import KINDS

    for kind, meaning in KINDS.items():
        of_kind = [row for row in rows if row["kind"] == kind]
        share = f"{100 * len(of_kind) / total:.1f}%"
        console.print(Text(f"{kind:<22}{len(of_kind):>8,} {share:>7}  ", style="bold") + Text(meaning, style="dim"))
        for row in of_kind[:SHOWN]:
            beside = f" of {printable(row['of'], 200)}" if row["of"] else ""
            console.print(Text(f"    {printable(row['where'], 200)}{beside}"), soft_wrap=True)
        if len(of_kind) > SHOWN:
            console.print(Text(f"    ... {len(of_kind) - SHOWN:,} more (--json lists all)", style="dim"))
