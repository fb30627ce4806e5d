"""Tables of a measure in the terminal; whatever a model or a file named is shown, never run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows; the columns are the keys in order of first appearance, numbers stand flush right."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=Text(printable(title)), title_justify="left")
    for name in columns:
        given = [row[name] for row in rows if row.get(name) is not None]
        number = bool(given) and all(isinstance(value, int | float) for value in given)
        table.add_column(Text(printable(name)), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(name))) for name in columns))
    Console().print(table)


def cell(value: Any) -> str:
    """A value in few characters; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return printable(str(value))


def printable(text: str) -> str:
    """The text without what would steer a terminal: escapes, controls, marks that turn the direction of writing."""
    return "".join(ch if ch.isprintable() else "?" for ch in text)


def share(value: float | None) -> str:
    """A share as a percentage; `not known` where there is none."""
    return "not known" if value is None else f"{100 * value:.0f}%"
