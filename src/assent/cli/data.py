"""`assent data`: a group of commands; each is a file `data_<name>.py` of this folder with `register(group)`."""

from __future__ import annotations

import importlib

import typer

from assent.cli.eval import members


def register(app: typer.Typer) -> None:
    """Adds the group and every command that is there."""
    group = typer.Typer(
        name="data",
        help="Inspect, convert, audit and precompute preference data.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for name in members("data_"):
        module = importlib.import_module(f"assent.cli.{name}")
        if hasattr(module, "register"):
            module.register(group)
    app.add_typer(group)
