"""`assent build`: a group of builders; each is a file `build_<name>.py` of this folder with `register(group)`."""

from __future__ import annotations

import importlib

import typer

from assent.cli.eval import members


def register(app: typer.Typer) -> None:
    """Adds the group and every builder that is there."""
    group = typer.Typer(
        name="build",
        help="Make preference data: sample, perturb, mine, relabel, filter.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for name in members("build_"):
        importlib.import_module(f"assent.cli.{name}").register(group)
    app.add_typer(group)
