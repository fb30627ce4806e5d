"""`assent data precompute`: scores the reference once, for every later run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from assent.errors import InputError


def register(group: typer.Typer) -> None:
    """Adds the command to `assent data`."""
    group.command("precompute")(precompute_reference)


def precompute_reference(
    run: Annotated[Path | None, typer.Argument(help="A run file; its model, data and reference are used.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="Keys of the run file: data.max_length=512")] = None,
    model: Annotated[
        str | None, typer.Option(help="Without a run file: folder or hub name of the reference.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Without a run file: preference data; may be repeated.")
    ] = None,
    max_length: Annotated[int, typer.Option(min=2, help="Without a run file: longest candidate in tokens.")] = 2048,
    store: Annotated[
        Path | None, typer.Option(help="Folder of the store; default: the run file's, or the cache.")
    ] = None,
    budget: Annotated[int, typer.Option(min=1, help="Tokens that are computed at once.")] = 16_384,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Scores the data with the reference and keeps the log-probabilities, so that no run has to do it again.

    Records are kept by content: their tokens, the mask of scored positions, and the reference's weights. Changing
    the learning rate, the loss or the output folder, or adding records, scores nothing twice. Killed, it goes on
    where it was when it is started again.

    Examples:

      assent data precompute run.yaml

      assent data precompute --model ./model --data prefs.jsonl --max-length 1024
    """
    from assent.likelihood.precompute import open_reference, precompute

    config = _config(run, overrides or [], model, data or [], max_length)
    folder = store or _store_of(config)
    needs, source, console = _needs_of(config), _source_of(config), Console(stderr=True)
    if run is None:
        opened = open_reference(source, folder)
        encoded = _every_record(config, opened.tokenizer, needs, console)
    else:
        encoded = _wanted_by_the_run(config, console)
        opened = open_reference(source, folder)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reference", total=None)
        done = precompute(
            opened,
            encoded,
            folder,
            statistics=needs.statistics,
            budget=budget,
            progress=lambda scored, wanted: bar.update(task, completed=scored, total=wanted),
        )
    result = {"found": done.found, "scored": done.scored, "tokens": done.tokens, "store": str(folder)}
    if as_json:
        typer.echo(json.dumps({**result, "identity": opened.identity.key}))
    else:
        typer.echo(
            f"{done.found:,} records were there, {done.scored:,} scored ({done.tokens:,} tokens); store: {folder}"
        )


def _config(run: Path | None, overrides: Sequence[str], model: str | None, data: list[str], length: int) -> Any:
    from assent.config import load_run, run_from

    if run is not None:
        if model or data:
            raise InputError(
                "give a run file, or --model and --data, not both", remedy="Overrides go behind the file"
            )
        return load_run(run, overrides)
    if not model or not data:
        raise InputError("needs a run file, or --model and --data")
    # Any objective with a reference will do: the numbers do not depend on it.
    return run_from({"model": model, "data": {"train": data, "max_length": length}, "objective": "dpo"})


def _source_of(config: Any) -> Any:
    """The model that is the reference of a run, as training opens it."""
    from assent.training.references import reference_source

    reference = config.reference
    if reference is not None and reference.source == "none":
        raise InputError("the run has no reference", field="reference", where=config.where("reference"))
    if reference is not None and reference.sync is not None:
        raise InputError(
            "a reference that follows the policy cannot be scored beforehand",
            field="reference.sync",
            where=config.where("reference.sync"),
        )
    return reference_source(config)


def _store_of(config: Any) -> Path:
    from assent.training.references import store_folder

    folder = store_folder(config)
    if folder is None:
        raise InputError("the run keeps no store", field="reference.store", remedy="Name a folder, or leave it out")
    return folder


def _needs_of(config: Any) -> Any:
    """What the run's objective reads of the reference."""
    from assent.likelihood.stored_reference import check_storable
    from assent.objectives import build_objective

    needs = None if config.objective is None else build_objective(config.objective).needs
    if needs is None or not needs.reference:
        raise InputError("the run reads no reference", field="objective", where=config.where("objective"))
    if needs.live_reference:
        check_storable(needs.statistics or ("the reference",))
    return needs


def _every_record(config: Any, tokenizer: Any, needs: Any, console: Console) -> list[Any]:
    """All records in tokens, whatever an objective would make of them."""
    from assent.training.data import encoder_of, read_records

    comparisons = [one for source in read_records(config).train for one in source]
    encoded, report = encoder_of(config, tokenizer, needs).encode_all(comparisons)
    for line in report.lines():
        console.print(line, markup=False, highlight=False)
    if not encoded:
        raise InputError(
            "no record is left to score",
            found=", ".join(f"{count} {reason}" for reason, count in report.reasons.items()) or "no records",
        )
    return encoded


def _wanted_by_the_run(config: Any, console: Console) -> list[Any]:
    """What training with this run file will ask: its pairs and labels, and the helpers its steps draw."""
    from assent.training.arguments import training_arguments
    from assent.training.setting import prepare
    from assent.training.wanted import order_of, steps_of, wanted_comparisons

    setting = prepare(config, lambda event: console.print(str(event.get("text", "")), markup=False, highlight=False))
    encoded, args = setting.encoded, training_arguments(config)
    order = order_of(args, encoded.sizes, encoded.weights)
    return wanted_comparisons(
        encoded.train, encoded.evaluation, setting.objective.needs, order, steps_of(args, order), args.seed
    )
