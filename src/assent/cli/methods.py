"""`assent methods`: what exists, what each method needs, its source; as a table, in detail, as Markdown or JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assent.errors import InputError
from assent.objectives.catalogue import Entry, catalogue, markdown, resolve


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(name="methods")(methods)


def methods(
    name: Annotated[str | None, typer.Argument(help="One method, or a name from another tool.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The page docs/methods.md.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the objectives: what exists, what each needs, its source.

    `assent methods` prints the table; `assent methods simpo` explains one method with its options. Names of other
    tools (sigmoid, kto_pair, rpo ...) are understood.
    """
    if as_markdown and as_json:
        raise InputError("--markdown and --json are two formats; choose one", field="--json")
    entries = catalogue()
    if name is not None:
        found, preset = resolve(name)
        entries = [entry for entry in entries if entry.description.slug == found]
        if not (as_json or as_markdown):
            _detail(entries[0], name, preset)
            return
    if as_json:
        sys.stdout.write(json.dumps([_plain(entry) for entry in entries], indent=2) + "\n")
    elif as_markdown:
        sys.stdout.write(markdown(entries))
    else:
        _table(entries)


def _plain(entry: Entry) -> dict[str, object]:
    return {**asdict(entry.description), "aliases": list(entry.aliases)}


def _table(entries: list[Entry]) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("method", no_wrap=True)
    table.add_column("needs", ratio=1)
    table.add_column("source", ratio=1)
    for entry in entries:
        description = entry.description
        table.add_row(description.slug, ", ".join(description.needs) or "-", Text(entry.citation))
    console.print(table)
    console.print(f"\n{len(entries)} methods; `assent methods NAME` explains one.", style="dim")


def _detail(entry: Entry, asked: str, preset: dict[str, object]) -> None:
    console = Console(highlight=False)
    description = entry.description
    if asked.replace("-", "_") != description.slug:
        options = ", ".join(f"{key}: {value}" for key, value in preset.items())
        console.print(Text(f"`{asked}` is {description.slug}" + (f" with {options}" if options else ""), style="dim"))
    console.print(Text(description.title, style="bold"))
    console.print(Text(f"Source: {description.source or '-'}"))
    console.print(Text(f"Needs: {', '.join(description.needs) or 'nothing but answers'}"))
    if entry.aliases:
        console.print(Text(f"Also called: {', '.join(entry.aliases)}"))
    console.print(Text("\n" + description.body.strip("\n") + "\n"), soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("option", "default", "meaning"):
        table.add_column(column, no_wrap=column == "option")
    for option in description.options:
        default = "required" if option.default is None else option.default
        table.add_row(option.name, Text(default), Text(option.text))
    if description.options:
        console.print(table)
    console.print(Text(f"\nobjective: {{{description.slug}: {{{_example(entry)}}}}}", style="dim"))


def _example(entry: Entry) -> str:
    options = [option for option in entry.description.options if option.kind != "Objective"][:2]
    return ", ".join(f"{option.name}: {option.default or '...'}" for option in options)
