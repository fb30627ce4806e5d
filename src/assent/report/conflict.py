"""The part of a report about conflicting terms: how their gradients lay to each other, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assent.report.figures import line_chart
from assent.report.page import Report
from assent.report.rows import read_lines

CAPTIONS = {
    "cosine": "Cosine of the gradients of {}",
    "coefficient": "Coefficient of the gradient of {}",
    "norm": "Length of the gradient of {}",
}
Rows = Sequence[Mapping[str, Any]]


def add_conflict(report: Report, folders: Mapping[str, Path]) -> bool:
    """Adds a table and a figure of each quantity for the runs that combined gradients; False where none did.

    Args:
        report: what is added to.
        folders: of the runs, by name.
    """
    found = {name: rows for name, folder in folders.items() if (rows := conflict_rows(folder))}
    if not found:
        return False
    report.section("Conflict")
    report.table(
        [
            {"run": name, "steps": len(rows), **{_label(key): value for key, value in summary(rows).items()}}
            for name, rows in found.items()
        ],
        "Below 0, the cosine says that a step along one gradient worsens the other term; coefficients are those the "
        "gradients were added with. Means over the steps.",
    )
    keys = dict.fromkeys(
        key for rows in found.values() for row in rows for key in row if key.startswith("gradients/")
    )
    for kind, caption in CAPTIONS.items():
        for key in (key for key in keys if key.startswith(f"gradients/{kind}/")):
            lines = {name: _series(rows, key) for name, rows in found.items()}
            terms = key.split("/", 2)[2].replace("/", ", ")
            report.figure(
                line_chart({name: line for name, line in lines.items() if line[0]}, "step", kind),
                caption.format(terms),
            )
    return True


def conflict_rows(folder: Path) -> Rows:
    """The record of every step; of the logged steps where the run kept no more; empty for other runs."""
    for name in ("gradients.jsonl", "metrics.jsonl"):
        rows = [row for row in read_lines(folder / name)[0] if any(key.startswith("gradients/") for key in row)]
        if rows:
            return rows
    return []


def summary(rows: Rows) -> dict[str, float]:
    """Means over the steps, and the share of them in which a pair of gradients opposed each other."""
    found: dict[str, float] = {}
    for key in dict.fromkeys(key for row in rows for key in row if key.startswith("gradients/")):
        values = _series(rows, key)[1]
        found[key] = sum(values) / len(values)
        if key.startswith("gradients/cosine/"):
            found[key.replace("cosine", "opposed", 1)] = sum(value < 0 for value in values) / len(values)
    return found


def _label(key: str) -> str:
    """`gradients/cosine/a/b` in words."""
    _, kind, terms = key.split("/", 2)
    return f"{kind} {terms.replace('/', ', ')}"


def _series(rows: Rows, key: str) -> tuple[list[float], list[float]]:
    points = [(float(row.get("step", at)), float(row[key])) for at, row in enumerate(rows) if key in row]
    return [step for step, _ in points], [value for _, value in points]
