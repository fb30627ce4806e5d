"""`assent recipe`: lists papers' recipes, shows one, runs it."""

from __future__ import annotations

import difflib
import importlib
import inspect
from types import ModuleType
from typing import Annotated

import typer

from assent.errors import InputError


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="List papers' recipes, show one, or run it.", rich_markup_mode=None
    )
    group.command("list")(list_recipes)
    group.command("show")(show_recipe)
    group.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run_recipe)
    app.add_typer(group, name="recipe")


def list_recipes() -> None:
    """Prints the name and the first line of every recipe."""
    from assent.recipes import RECIPES

    width = max(map(len, RECIPES))
    for name in sorted(RECIPES):
        typer.echo(f"{name:<{width}}  {_story(load(name)).splitlines()[0]}")


def show_recipe(
    name: Annotated[str, typer.Argument(help="A name of `assent recipe list`.")],
    source: Annotated[bool, typer.Option("--source", help="Also print the code.")] = False,
) -> None:
    """Prints the story of a recipe."""
    module = load(name)
    typer.echo(_story(module))
    if source:
        typer.echo("\n" + inspect.getsource(module))


def run_recipe(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name of `assent recipe list`.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run; a recipe that can runs on tiny stand-ins.")
    ] = False,
) -> None:
    """Runs a recipe; whatever follows the name is passed on to it.

    Example:

      assent recipe run demo --output demo-report
    """
    module = load(name)
    small = "dry" in inspect.signature(module.main).parameters
    if dry_run:
        typer.echo(_story(module))
        typer.echo(f"\nwould run {module.__name__}.main({context.args})")
        if not small:
            return
    try:
        module.main(context.args, **({"dry": True} if dry_run else {}))
    except SystemExit as stop:
        # A recipe parses its own options; argparse has already said what is wrong with them.
        raise typer.Exit(stop.code if isinstance(stop.code, int) else 2) from None


def load(name: str) -> ModuleType:
    """The module of a recipe.

    Raises:
        InputError: there is none of that name.
    """
    from assent.recipes import RECIPES

    key = name.replace("-", "_")
    if key not in RECIPES:
        near = difflib.get_close_matches(key, RECIPES, n=1)
        raise InputError(
            "no recipe of that name",
            found=repr(name),
            expected=f"`{near[0]}`?" if near else None,
            remedy="See `assent recipe list`",
        )
    return importlib.import_module(RECIPES[key])


def _story(module: ModuleType) -> str:
    return inspect.getdoc(module) or ""
