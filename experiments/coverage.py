"""Which experiments train by which objective, read off their source: what has been repeated, and what has not."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from assent.objectives import objective_classes
from assent.objectives.names import ALIASES

TRAIN_BY_OBJECTIVE = (
    "assent.config",
    "assent.objectives",
    "assent.recipes.digits.align",
    "experiments._tabular",
    "experiments._worlds",
)
"""Modules without which an experiment trains by no objective; what it then calls `gpm` is a preference model."""
LABELS_OF_PICTURES = {"dpo", "kto"}
"""Names that experiments on pictures give their runs; the objectives of pictures have names of their own."""


def objectives_of(source: Path) -> set[str]:
    """The objectives that an experiment names in code that trains by them."""
    tree = ast.parse(source.read_text())
    imports = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    if not any(name.startswith(module) for name in imports for module in TRAIN_BY_OBJECTIVE):
        return set()
    named = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    named |= {name.rpartition(".")[2] for name in imports if name.startswith("assent.objectives.")}
    if "assent.recipes.digits.align" in imports:
        named -= LABELS_OF_PICTURES
    found = {ALIASES[name][0] if name in ALIASES else name for name in named}
    return found & set(objective_classes())


def coverage(sources: Iterable[Path]) -> dict[str, list[str]]:
    """For every objective the experiments, by slug, that train by it."""
    found: dict[str, list[str]] = {slug: [] for slug in sorted(objective_classes())}
    for source in sorted(sources):
        for slug in objectives_of(source):
            found[slug].append(source.stem)
    return found
