"""`assent export`: a plain model out of a run, checked against what was trained."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("export")(export_run)


def export_run(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    out: Annotated[Path, typer.Argument(help="Where the plain model goes; a new or empty folder.")],
    bound: Annotated[
        float | None,
        typer.Option(help="Largest change of a token's log-probability, nats; default 1e-3, in 16 bits 0.5."),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the written weights; default: the run's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Merges a run's adapters into plain weights, and scores stored records with what was written.

    Every run keeps the log-probabilities of up to 64 records under the trained policy. If the exported model gives
    others, beyond the bound, nothing is written.

    Example:

      assent export out merged
    """
    from assent.training.exporting import export

    done = export(run, out, bound, dtype)
    if as_json:
        typer.echo(json.dumps(asdict(done), default=str))
        return
    merged = f"merged {', '.join(done.merged)}; " if done.merged else ""
    typer.echo(
        f"{merged}{done.records} records scored again: largest difference {done.largest:.3g} nats, "
        f"mean {done.mean:.3g} (bound {done.bound:g})"
    )
    typer.echo(f"model: {done.folder}")
