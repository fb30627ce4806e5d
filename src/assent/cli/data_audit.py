"""`assent data audit`: names the records that one should look at, and writes the set without them if asked to.

With a model, a score or a rule to ask it also estimates how many labels are wrong, and which.
"""

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
    model: Annotated[
        str | None,
        typer.Option(
            help="Estimates the label noise: a folder as of `assent score`, or rule:package.module:function."
        ),
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="In place of a model: the name of scores that are in the file already.")
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="What the model's log-odds are multiplied by, 1 if calibrated; default: fitted."),
    ] = None,
    suspicious: Annotated[int, typer.Option(min=0, help="So many suspicious comparisons go to --json, --html.")] = 50,
    drop_below: Annotated[
        float, typer.Option(min=0, max=1, help="--clean leaves out labels that are right with less probability.")
    ] = 0.0,
    html: Annotated[Path | None, typer.Option(help="Also write a report with the suspicious comparisons.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Reference of a policy that is asked: a model folder.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(min=2, help="Longest candidate in tokens.")] = None,
    truncate: Annotated[
        str, typer.Option(help="For longer ones: prompt_left, completion_right, or drop to stop with an error.")
    ] = "prompt_left",
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens that are computed at once.")] = 16_384,
    chat_template: Annotated[
        str | None, typer.Option(help="Template in place of the tokenizer's own; `transcript` for base models.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the model's weights, such as bfloat16.")] = None,
    split: Split = None,
    column: Columns = None,
    format_name: Format = None,
    on_invalid: OnInvalid = "error",
    quarantine: QuarantinePath = None,
    limit: Limit = None,
) -> None:
    """Lists ties, identical candidates, empty completions, exact and near duplicates and contradictions by line.

    Of duplicates the first record stays; of a contradiction the later record is named, and the earlier one beside it.

    With --model or --score also estimates, before any training, which share of the labels is wrong, how far each
    annotator can be trusted, and which labels to look at first. The model should not have learnt from these labels:
    one that knows them by heart doubts none. Of a list its best answer is held against its worst.

    Examples:

      assent data audit prefs.jsonl

      assent data audit prefs.jsonl --clean clean.jsonl --keep tie

      assent data audit prefs.jsonl --model reward-model --html noise.html

      assent data audit prefs.jsonl --model dpo-model --reference base-model --json
    """
    from assent.cli.data_label_noise import Asked, as_rows, show, write_report
    from assent.evaluation.data_findings import KINDS, findings
    from assent.evaluation.label_noise import label_noise
    from assent.readers import write_jsonl

    unknown = next((kind for kind in keep or [] if kind not in KINDS), None)
    if unknown is not None:
        raise InputError("no such kind of finding", where="--keep", found=unknown, expected=", ".join(KINDS))
    if clean is not None and clean.exists():
        raise InputError("the file is there already", where=str(clean), remedy="Give another name")
    without = {"--scale": scale, "--html": html, "--drop-below": drop_below or None, "--reference": reference}
    if model is None and score is None and (given := [name for name, value in without.items() if value is not None]):
        raise InputError("needs somebody to ask about the labels", field=given[0], expected="--model or --score too")
    if drop_below and clean is None:
        raise InputError("nothing is left out without --clean", field="--drop-below", remedy="Add --clean FILE")
    options = {
        "reference": reference,
        "max_length": max_length,
        "truncate": truncate,
        "batch_tokens": batch_tokens,
        "chat_template": chat_template,
        "dtype": dtype,
    }
    asked = Asked(model, score, scale, options)
    result = read_source(file, split, column, format_name, on_invalid, quarantine, limit)
    noise, noise_rows = None, None
    if model is not None or score is not None:
        noise = label_noise(result.comparisons, asked.scored(result.comparisons), scale)
        noise_rows = as_rows(noise, result.comparisons, result.origins, asked.name, suspicious)
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
        told = {"records": len(result.comparisons), "findings": rows, "label_noise": noise_rows}
        typer.echo(json.dumps(told, indent=1))
    else:
        _show(rows, len(result.comparisons), Console(highlight=False))
        if noise_rows is not None:
            show(noise_rows, Console(highlight=False))
    if html is not None and noise_rows is not None:
        write_report(noise_rows, str(file), html)
        typer.echo(f"report: {html}", err=True)
    if clean is not None:
        bad = {finding.index for finding in found if finding.kind not in (keep or [])}
        if noise is not None:
            bad |= {index for index, right in noise.probability_right.items() if right < drop_below}
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
