"""`assent eval`: a group of measures; each is a file `eval_<name>.py` of this folder with `register(group)`."""

from __future__ import annotations

import importlib
import pkgutil

import typer

import assent.cli


def register(app: typer.Typer) -> None:
    """Adds the group and every measure that is there."""
    group = typer.Typer(
        name="eval",
        help="Measure: win rates, ranking accuracy, preference-model benchmarks.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for name in members("eval_"):
        importlib.import_module(f"assent.cli.{name}").register(group)
    app.add_typer(group)


def members(prefix: str) -> list[str]:
    """The files of this folder whose names start with a group's prefix, sorted."""
    return sorted(
        module.name for module in pkgutil.iter_modules(assent.cli.__path__) if module.name.startswith(prefix)
    )
