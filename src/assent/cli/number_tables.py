"""Nested numbers as tables of text, for a terminal of 80 columns and for reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

NOTHING = ("-", "0", "none")
"""How a cell that says nothing reads."""
NAME_WIDTH = 18
"""Columns that a name may keep for itself before its table gets narrower."""
WORDS = {
    "strict": "accuracy",
    "with_ties": "ties at 1/2",
    "ece": "ECE",
    "ace": "ACE",
    "mce": "MCE",
    "nll": "NLL",
    "nll_at_temperature": "NLL at temperature",
    "kl": "KL",
}
"""Names that read better in other words than with spaces for underscores."""

Rows = list[dict[str, str]]


def print_numbers(numbers: Mapping[str, Any]) -> None:
    """Tables of the numbers, nested ones under their own names; what says nothing is named in a line."""
    console = Console()
    empty: list[str] = []
    for title, rows in tables_of(numbers).items():
        if all(value in NOTHING for row in rows for name, value in row.items() if name != "name"):
            empty.append(title)
            continue
        if len(rows[0]) == 2 and "value" in rows[0]:
            empty += [row["name"] for row in rows if row["value"] == "-"]
            rows = [row for row in rows if row["value"] != "-"]
        console.print(_drawn(title, without_idle_columns(rows)))
        console.print()
    if empty:
        console.print(Text(f"not given or nothing to measure: {', '.join(empty)}"))


def _drawn(title: str, rows: Rows) -> Table:
    plain = list(rows[0]) == ["name", "value"]
    table = Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=None if plain else SIMPLE_HEAD,
        padding=(0, 1, 0, 1 if plain else 0),
        show_header=not plain,
    )
    for column in rows[0]:
        if column == "name":
            longest = max(len(row["name"]) for row in rows)
            table.add_column("", overflow="fold", min_width=min(longest, NAME_WIDTH))
        else:
            # A heading may take several lines, a number never.
            heading = "" if column == "value" else column.replace(" ", "\n")
            table.add_column(Text(heading), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(value) for value in row.values()))
    return table


def tables_of(numbers: Mapping[str, Any]) -> dict[str, Rows]:
    """Rows of text for each part of the numbers."""
    plain = {key: value for key, value in numbers.items() if not isinstance(value, Mapping | list | tuple)}
    tables: dict[str, Rows] = {"summary": [{"name": words(k), "value": shown(v)} for k, v in plain.items()]}
    for key, value in numbers.items():
        if isinstance(value, Mapping) and value:
            tables[words(key)] = _table(value)
        elif isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            tables[words(key)] = [{words(name): shown(cell) for name, cell in row.items()} for row in value]
        elif isinstance(value, list | tuple):
            tables["summary"].append({"name": words(key), "value": ", ".join(map(str, value)) or "none"})
    return tables


def without_idle_columns(rows: Rows) -> Rows:
    """The rows without columns that say nothing, or the same as the column before."""
    kept: list[str] = []
    for column in rows[0]:
        values = [row.get(column, "-") for row in rows]
        idle = len(rows[0]) > 2 and all(value in NOTHING for value in values)
        repeated = bool(kept) and kept[-1] != "name" and values == [row.get(kept[-1], "-") for row in rows]
        if column == "name" or not (idle or repeated):
            kept.append(column)
    return [{column: row.get(column, "-") for column in kept} for row in rows]


def words(name: Any) -> str:
    """A name of the numbers as it is read."""
    text = str(name)
    return WORDS.get(text, text.replace("_", " "))


def shown(value: Any) -> str:
    """A value in a cell; an estimate with its interval."""
    if isinstance(value, Mapping) and "estimate" in value:
        return f"{value['estimate']:.3f} [{value['low']:.2f}, {value['high']:.2f}]"
    if isinstance(value, Mapping):
        return "; ".join(f"{words(name)} {shown(item)}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "; ".join(shown(item) for item in value)
    return "-" if value is None else str(value)


def _table(part: Mapping[str, Any]) -> Rows:
    nested = {name: value for name, value in part.items() if isinstance(value, Mapping) and "estimate" not in value}
    if len(nested) == len(part):
        columns = list(dict.fromkeys(name for value in nested.values() for name in value))
        # Names of groups and people are theirs, and stay as they are.
        return [
            {"name": str(name), **{words(column): shown(value.get(column)) for column in columns}}
            for name, value in nested.items()
        ]
    return [{"name": words(name), "value": shown(value)} for name, value in part.items() if name != "bins"]
