"""`assent data precompute`: scores the reference once, for every later run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
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
    comparisons = _comparisons(config)
    opened = open_reference(source, folder)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("tokens", total=len(comparisons))
        encoder = _encoder(config, opened.tokenizer, needs)
        encoded, report = encoder.encode_all(comparisons, lambda done: bar.update(task, completed=done))
    for line in report.lines():
        console.print(line, markup=False, highlight=False)
    if not encoded:
        raise InputError(
            "no record is left to score",
            found=", ".join(f"{count} {reason}" for reason, count in report.reasons.items()) or "no records",
        )
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
        typer.echo(json.dumps({**result, "identity": opened.identity.key, "encoding": report.to_dict()}))
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
    """The model that is the reference of a run."""
    from assent.likelihood.precompute import ReferenceSource

    reference, start = config.reference, config.model
    if reference is not None and reference.source == "none":
        raise InputError("the run has no reference", field="reference", where=config.where("reference"))
    if reference is not None and reference.sync is not None:
        raise InputError(
            "a reference that follows the policy cannot be scored beforehand",
            field="reference.sync",
            where=config.where("reference.sync"),
        )
    own = reference is None or reference.source == "model"
    adapter = reference.adapter if reference is not None and reference.adapter else (start.adapter if own else None)
    return ReferenceSource(
        path=start.path if own else reference.source,
        adapter=adapter,
        dtype=None if start.dtype == "auto" else start.dtype,
        quantization=config.quantization,
        options={
            "trust_remote_code": start.trust_remote_code,
            "attn_implementation": start.attention,
            "revision": start.revision if own else None,
            "tokenizer": start.tokenizer or (None if own else start.path),
        },
        shared_prefixes=start.layout != "padded",
    )


def _store_of(config: Any) -> Path:
    from assent.likelihood.stored_reference import default_store

    given = config.reference.store if config.reference is not None else None
    if given == "none":
        raise InputError("the run keeps no store", field="reference.store", remedy="Name a folder, or leave it out")
    return Path(given) if given else default_store()


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


def _comparisons(config: Any) -> list[Any]:
    """All records of the run, training and evaluation."""
    from assent.readers import read

    held_out = config.data.eval.sources if config.data.eval is not None else None
    found: list[Any] = []
    for source in _unique([*config.data.train, *(held_out or [])]):
        result = read(
            source.path,
            split=source.split,
            columns=source.columns or config.data.columns,
            format=source.format or config.data.format,
            on_invalid=config.data.on_invalid,
            limit=source.limit,
            name=source.name,
            revision=source.revision,
        )
        found += result.comparisons
    return found


def _unique(sources: Iterable[Any]) -> list[Any]:
    return list({repr(source): source for source in sources}.values())


def _encoder(config: Any, tokenizer: Any, needs: Any) -> Any:
    from assent.encoding import CausalEncoder

    data = config.data
    return CausalEncoder(
        tokenizer,
        max_length=data.max_length,
        truncate=data.truncate,
        score_turns=data.score_turns,
        score_prompts=needs.joint_prompts,
        on_invalid="drop" if data.on_invalid == "quarantine" else "raise",
        chat_template=data.chat_template,
        template_options=data.template_options,
    )
