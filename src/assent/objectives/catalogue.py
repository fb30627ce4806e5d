"""The list of built-in methods with their descriptions, aliases and citations, and the docs page made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from assent.objectives.describe import Description, describe
from assent.objectives.names import ALIASES, AMBIGUOUS
from assent.objectives.registry import find_objective, objective_classes


@dataclass(frozen=True)
class Entry:
    """A method of the catalogue.

    Args:
        description: what its docstrings say.
        aliases: other names that lead to it.
        citation: its source, shortened to authors, year and arXiv number.
    """

    description: Description
    aliases: tuple[str, ...]
    citation: str


def catalogue() -> list[Entry]:
    """Every built-in method, by slug."""
    return [
        Entry(
            description=(description := describe(cls)),
            aliases=tuple(sorted(alias for alias, (target, _) in ALIASES.items() if target == slug)),
            citation=short_citation(description.source),
        )
        for slug, cls in sorted(objective_classes().items())
    ]


def resolve(name: str) -> tuple[str, dict[str, Any]]:
    """The slug and the options of a name; an InputError with the nearest name, or with the choices."""
    cls, preset = find_objective(name)
    return cls.__module__.rsplit(".", 1)[-1], preset


def short_citation(source: str) -> str:
    """Authors, year and arXiv number of the first paper of a source."""
    found = re.match(r"(.+? \d{4})\b.*?(arXiv [\d.]+\d)?(?:[,;(]|$)", source)
    arxiv = re.search(r"arXiv ([\d.]+\d)", source)
    authors = found[1] if found else source.partition(",")[0]
    return f"{authors}, {arxiv[1]}" if arxiv else authors


def markdown(entries: Sequence[Entry], outcomes: Mapping[str, str] = MappingProxyType({})) -> str:
    """The page `docs/methods.md`: one row per method, then each in full.

    Args:
        entries: the methods.
        outcomes: by slug, the experiments that train by it and what came out, as Markdown.
    """
    lines = [
        "# Methods",
        "",
        f"{len(entries)} objectives. Made by `make docs` from the docstrings; do not edit. `assent explain NAME`",
        "says what a loss means and draws it. Under *seen*: the experiments with a known outcome that train by it,",
        "and how many of their claims held in every seed; all numbers are in [results](results.md).",
        "",
        "| method | needs | source | names elsewhere | seen |",
        "|---|---|---|---|---|",
    ]
    for entry in entries:
        slug = entry.description.slug
        needs = ", ".join(entry.description.needs) or "-"
        aliases = ", ".join(f"`{alias}`" for alias in entry.aliases)
        seen = outcomes.get(slug, "")
        lines.append(f"| [`{slug}`](#{slug}) | {needs} | {entry.citation or '-'} | {aliases} | {seen} |")
    for entry in entries:
        lines += ["", *_section(entry)]
    lines += ["", "## Names that mean several methods", "", "| name | choices |", "|---|---|"]
    lines += [f"| `{name}` | {'; '.join(choices)} |" for name, choices in sorted(AMBIGUOUS.items())]
    return "\n".join(lines) + "\n"


def _section(entry: Entry) -> list[str]:
    description = entry.description
    lines = [f"## {description.slug}", "", description.title, ""]
    if description.source:
        lines += [f"Source: {description.source}", ""]
    lines += ["```text", description.body.strip("\n"), "```", ""]
    if entry.aliases:
        lines += [f"Also called: {', '.join(f'`{alias}`' for alias in entry.aliases)}.", ""]
    if description.options:
        lines += ["| option | type | default | meaning |", "|---|---|---|---|"]
        for option in description.options:
            kind = option.kind.replace("|", "\\|")
            default = "required" if option.default is None else f"`{option.default}`"
            lines.append(f"| `{option.name}` | {kind} | {default} | {option.text} |")
    return lines
