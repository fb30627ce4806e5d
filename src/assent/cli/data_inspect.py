"""`assent data inspect`: what a file of preference data is and what is in it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

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
    from assent.evaluation.data_lengths import Tokenise


def register(group: typer.Typer) -> None:
    """Adds the command to `assent data`."""
    group.command("inspect")(inspect)


def inspect(
    file: Source,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write an HTML report.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Count tokens of this tokenizer (a folder or hub name), not words.")
    ] = None,
    near: Annotated[
        float, typer.Option(min=0, max=1, help="Similarity from which records are near duplicates; 0: do not look.")
    ] = 0.8,
    split: Split = None,
    column: Columns = None,
    format_name: Format = None,
    on_invalid: OnInvalid = "error",
    quarantine: QuarantinePath = None,
    limit: Limit = None,
) -> None:
    """Says which format a file has and why, and shows what is in it before anything is trained on it.

    Shown are counts, lengths by side, the share of tokens that is a common prefix, ties, identical candidates, empty
    completions, exact and near duplicates, how often the longer answer wins, scores, annotators and groups.

    Examples:

      assent data inspect prefs.jsonl

      assent data inspect prefs.jsonl --tokenizer ./model --html report.html

      assent data inspect rated.csv --column prompt=question --column chosen=good --column rejected=bad
    """
    from assent.evaluation.data_summary import summarise

    console = Console(stderr=True, highlight=False)
    with console.status("reading"):
        result = read_source(file, split, column, format_name, on_invalid, quarantine, limit)
    with console.status("counting"):
        unit = "words" if tokenizer is None else "tokens"
        tokenise = _tokenise(tokenizer)
        summary = summarise(result.comparisons, tokenise, unit, near or None)
    if as_json:
        typer.echo(json.dumps({"source": _source_facts(result), **summary.as_json()}, ensure_ascii=False, indent=1))
    else:
        from assent.cli.data_tables import show

        show(result, summary, Console(highlight=False))
    if html is not None:
        from assent.cli.data_report import report_of

        report_of(result, summary).write(html)
        typer.echo(f"report: {html}", err=True)


def _source_facts(result: Any) -> dict[str, Any]:
    return {
        "source": result.source,
        "format": result.format,
        "reason": result.reason,
        "rows": result.rows,
        "read": len(result.comparisons),
        "quarantined": result.quarantined,
        "quarantine": None if result.quarantine is None else str(result.quarantine),
        "fingerprint": result.fingerprint,
    }


def _tokenise(name: str | None) -> Tokenise:
    from assent.evaluation.data_lengths import words

    if name is None:
        return words
    from transformers import AutoTokenizer

    try:
        # A folder with nothing but a tokenizer will do: no model is needed to count.
        tokenizer = AutoTokenizer.from_pretrained(name)
    except Exception as error:  # the library raises whatever a missing or broken file makes it raise
        raise InputError(
            "the tokenizer cannot be loaded",
            where="--tokenizer",
            found=f"{name}: {type(error).__name__}",
            expected="a folder with a tokenizer, or a hub name",
        ) from None

    def tokens(text: str) -> Sequence[Hashable]:
        found: Sequence[Hashable] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return found

    return tokens
