"""`assent explain`: what a loss means. Its formula, its place among the others, its curve, and the proof of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.text import Text

from assent.cli.text_plot import text_plot
from assent.errors import InputError
from assent.objectives import Objective, build_objective
from assent.objectives.catalogue import resolve
from assent.objectives.describe import describe
from assent.objectives.logic import Part
from assent.objectives.logic.structure import Structure, neighbours, without_reference

CLOSE = 1e-6
"""Largest difference between a loss and its formulas that counts as agreement."""


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command(name="explain")(explain)


def explain(
    name: Annotated[str | None, typer.Argument(help="An objective, or a name from another tool.")] = None,
    options: Annotated[str, typer.Option("--options", help="Its options as YAML: 'beta: 0.05'.")] = "",
    formula: Annotated[
        str | None, typer.Option("--formula", help="Your own core formula P: 'Implies(l, w)' or 'l >> w'.")
    ] = None,
    condition: Annotated[str, typer.Option(help="P_C: which assignments count (with --formula).")] = "true",
    additive: Annotated[str, typer.Option(help="P_A: which count on both sides (with --formula).")] = "false",
    plot: Annotated[Path | None, typer.Option(help="Where the curve is drawn (PNG, PDF, SVG).")] = None,
) -> None:
    """Say what an objective means: its logical formula, what it entails, and its curve.

    `assent explain simpo`, or a loss of your own: `assent explain --formula "Implies(l, w)" --condition "Or(w, l)"`.
    """
    if (name is None) == (formula is None):
        raise InputError("explain takes the name of an objective or --formula, one of them", field="explain")
    given = _options(options)
    if formula is not None:
        slug, given = "formula", {"expression": formula, "condition": condition, "additive": additive, **given}
    else:
        slug, preset = resolve(str(name))
        given = {**preset, **given}
    objective = build_objective({slug: {**getattr(_class(slug), "example", {}), **given}})
    console = Console(highlight=False)
    _heading(console, slug, formula)
    parts: Sequence[Part] | None = getattr(objective, "logic", None)
    if not parts:
        console.print(Text("No logical form known (with these options).\n"))
    for part in parts or ():
        _meaning(console, part)
    agrees = _check(console, objective, parts) if parts else True
    target = plot or Path(f"explain-{slug}.png")
    console.print(Text("\nLoss against the margin:"))
    _draw(console, objective, slug, target)
    console.print(Text(f"Curve   {target}"), soft_wrap=True)
    if formula is not None:
        text = yaml.safe_dump({"objective": {slug: given}}, sort_keys=False)
        console.print(Text(f"\nTrain with it:\n{text}"), soft_wrap=True)
    if not agrees:
        raise typer.Exit(1)


def _class(slug: str) -> type[Any]:
    from assent.objectives import objective_classes

    return objective_classes()[slug]


def _options(text: str) -> dict[str, Any]:
    try:
        read = yaml.safe_load(text) if text else {}
    except yaml.YAMLError as error:
        raise InputError("--options is not YAML", field="--options", found=repr(text), expected=str(error)) from None
    if isinstance(read, dict):
        return read
    raise InputError("--options is a mapping", field="--options", found=repr(text), expected="'beta: 0.05'")


def _heading(console: Console, slug: str, formula: str | None) -> None:
    description = describe(_class(slug))
    console.print(Text(description.title if formula is None else "A loss of your own", style="bold"))
    if formula is None:
        console.print(
            Text(f"Source: {description.source or '-'}\n\n{description.body.strip(chr(10))}"), soft_wrap=True
        )
    console.print()


def _meaning(console: Console, part: Part) -> None:
    """The structure of one term, its score, its truth table and its neighbours."""
    from assent.objectives.logic.printing import score, shortest, sides

    structure = part.structure
    top, bottom = sides(structure)
    kind = "geometric mean per token" if part.per_token else "sequence probabilities"
    rows = [
        ("Term", f"L = {part.in_words()},  rho = log {score(structure)}   ({kind})"),
        ("P", f"{structure.core}   what a good model satisfies; shortest: {shortest(structure.core)}"),
        ("P_C", f"{structure.condition}   what counts at all"),
        ("P_A", f"{structure.additive}   what counts on both sides"),
        ("Top", top),
        ("Bottom", bottom),
    ]
    for label, text in rows:
        console.print(Text(f"{label:<8}{text}"), soft_wrap=True)
    for row, mark in structure.marks() if len(structure.variables) <= 2 else ():
        values = " ".join(f"{name}={'T' if value else 'F'}" for name, value in row.items())
        console.print(Text(f"{'':8}{values}   {mark}"))
    _place(console, structure)
    console.print()


def _place(console: Console, structure: Structure) -> None:
    found = without_reference(structure)
    if found is not None:
        console.print(Text(f"{'Is':<8}the reference version of: {found[0]}"), soft_wrap=True)
        structure = found[1]
    if not set(structure.variables) <= {"w", "l"}:
        return
    name, above, below = neighbours(structure)
    if found is None:
        console.print(Text(f"{'Is':<8}{name or 'outside the lattice of two answers'}"), soft_wrap=True)
    for label, names in (("Entails", above), ("From", below)):
        console.print(Text(f"{label:<8}{'; '.join(names) or '-'}"), soft_wrap=True)


def _check(console: Console, objective: Objective, parts: Sequence[Part]) -> bool:
    from assent.objectives.logic.probing import compiled_difference

    difference = compiled_difference(objective, parts)
    agrees = difference <= CLOSE
    verdict = "agrees" if agrees else "DISAGREES"
    console.print(
        Text(f"Check   weighted model counting {verdict} with the code on 1000 random pairs: {difference:.1e}"),
        soft_wrap=True,
    )
    return agrees


def _draw(console: Console, objective: Objective, slug: str, target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from assent.objectives.logic.probing import TOKENS, curve

    margins = [0.5 * step for step in range(-80, 81)]
    losses = curve(objective, margins)
    for line in text_plot(margins, losses, f"margin, nats ({TOKENS} tokens each)"):
        console.print(Text(line), soft_wrap=True)
    figure, axes = pyplot.subplots(figsize=(6.4, 4.0), layout="constrained")
    axes.plot(margins, losses, linewidth=2)
    axes.axvline(0, color="0.8", linewidth=1, zorder=0)
    axes.set(xlabel=f"margin of log-probabilities, nats ({TOKENS} tokens each)", ylabel="loss", title=slug)
    try:
        figure.savefig(target, dpi=150)
    except (OSError, ValueError) as error:
        raise InputError("the curve cannot be written", where=str(target), found=str(error)) from None
    finally:
        pyplot.close(figure)
