"""`assent plan`: what a run would do, need and take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("plan")(plan)


def plan(
    run: Annotated[Path, typer.Argument(help="The run file (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Keys of the run file: objective.dpo.beta=0.05")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    records: Annotated[int, typer.Option(min=0, help="Records to show as the model sees them.")] = 3,
) -> None:
    """Resolves a run file and says what it would do, before any weight is loaded.

    Shown are every setting with its default, what is made of the data and what is left out, the steps, tokens and
    time, the predicted memory, and the tokens of some records with those that the loss reads marked.

    Example:

      assent plan run.yaml data.max_length=1024
    """
    from assent.config import load_run
    from assent.encoding import what_the_model_sees
    from assent.errors import InputError
    from assent.training.setting import is_diffusion, prepare

    config = load_run(run, overrides or [])
    if config.preference_model is not None:
        raise InputError(
            "plan speaks of policies", where=str(run), remedy="Use `assent train --dry-run` for a preference model"
        )
    if is_diffusion(config):
        _plan_pictures(config, as_json)
        return
    setting = prepare(config, lambda event: None)
    if as_json:
        found = {
            "config": config.resolved(),
            "plan": setting.plan.to_dict(),
            "data": {**setting.records.facts, **setting.encoded.facts()},
            "what_the_model_sees": what_the_model_sees(setting.encoded.train, setting.tokenizer, records),
        }
        typer.echo(json.dumps(found, ensure_ascii=False, default=str))
        return
    print_plan(config, setting.plan)
    console = Console(highlight=False)
    console.print(Text("\nData", style="bold"))
    for line in setting.encoded.lines():
        console.print(f"  {line}", markup=False, soft_wrap=True)
    _print_sight(console, setting, records)


def _plan_pictures(config: Any, as_json: bool) -> None:
    from assent.training.setting import prepare_pictures

    setting = prepare_pictures(config, lambda event: None)
    if as_json:
        found = {"config": config.resolved(), "plan": setting.plan.to_dict(), "data": setting.records.facts}
        typer.echo(json.dumps(found, ensure_ascii=False, default=str))
        return
    print_plan(config, setting.plan)
    console = Console(highlight=False)
    console.print(Text("\nData", style="bold"))
    for line in setting.lines():
        console.print(f"  {line}", markup=False, soft_wrap=True)


def print_plan(config: Any, plan: Any) -> None:
    """Prints the settings and the numbers of a plan."""
    from assent.training.plan import translated_fields

    console = Console(highlight=False)
    console.print(Text("Settings", style="bold"))
    text = yaml.safe_dump(config.resolved(), sort_keys=False, allow_unicode=True)
    console.print("".join(f"  {line}\n" for line in text.splitlines()), markup=False, end="", soft_wrap=True)
    for name, note in translated_fields(config).items():
        console.print(f"  training.{name}: {note}", markup=False, soft_wrap=True)
    console.print(Text("\nRun", style="bold"))
    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in plan_rows(plan):
        table.add_row(name, value)
    console.print(table)


def plan_rows(plan: Any) -> list[tuple[str, str]]:
    """The numbers of a plan, named."""
    if hasattr(plan, "pictures"):
        return _picture_rows(plan)
    memory = plan.memory
    saved = 1 - plan.tokens / max(plan.tokens_padded, 1)
    return [
        ("comparisons", f"{plan.comparisons:,} to train on, {plan.held_out:,} held out"),
        ("steps", f"{plan.steps:,} of {plan.per_step:,} comparisons, {plan.steps_per_epoch:,} per epoch"),
        ("tokens", f"{plan.tokens:,} per epoch ({saved:.0%} less than one padded row per answer)"),
        ("longest comparison", f"{plan.longest:,} tokens"),
        ("micro-batches", f"up to {plan.budget:,} tokens at once"),
        ("reference", plan.reference),
        ("parameters", f"{plan.parameters:,}, of which {plan.trained:,} are trained"),
        (
            "memory, predicted peak",
            f"{size(memory.peak)}: weights {size(memory.weights)}, reference {size(memory.reference)}, gradients "
            f"{size(memory.gradients)}, optimizer {size(memory.optimizer)}, activations {size(memory.activations)}, "
            f"head {size(memory.head)}",
        ),
        ("operations", f"{plan.operations:.3g} in all; {time_of(plan)}"),
        ("device", plan.device),
    ]


def _picture_rows(plan: Any) -> list[tuple[str, str]]:
    memory = plan.memory
    parts = ", ".join(f"{name} {size(count)}" for name, count in memory.items())
    return [
        ("comparisons", f"{plan.comparisons:,} to train on, {plan.held_out:,} held out"),
        ("steps", f"{plan.steps:,} of {plan.per_step:,} comparisons, {plan.steps_per_epoch:,} per epoch"),
        ("pictures", f"{plan.pictures:,}, each encoded once; {plan.rows:,} noisy ones per epoch"),
        ("micro-batches", f"up to {plan.budget:,} noisy pictures at once"),
        ("reference", plan.reference),
        ("parameters of the network", f"{plan.parameters:,}, of which {plan.trained:,} are trained"),
        ("memory without activations", f"{size(sum(memory.values()))}: {parts}"),
        ("device", plan.device),
    ]


def size(count: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def time_of(plan: Any) -> str:
    """How long the operations take at the rate that this machine's matrix products reach."""
    seconds = plan.seconds
    if seconds < 120:
        return f"about {seconds:.0f} s here"
    return f"about {seconds / 60:.0f} min here" if seconds < 7200 else f"about {seconds / 3600:.1f} h here"


def _print_sight(console: Console, setting: Any, records: int) -> None:
    from assent.encoding.sight import painted

    if not records:
        return
    console.print(Text("\nWhat the model sees (bold: the loss reads it)", style="bold"))
    for comparison in setting.encoded.train[:records]:
        console.print(Text(f"  {comparison.id[:12]}", style="bold"))
        for candidate, role, score in zip(comparison.candidates, comparison.roles, comparison.scores, strict=True):
            console.print(
                Text(f"  {role or f'score {score:g}'}: "), painted(candidate, setting.tokenizer), soft_wrap=True
            )
