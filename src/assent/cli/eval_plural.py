"""`assent eval plural`: what candidate sets offer to people who differ, and what people and groups choose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from assent.cli.number_tables import print_numbers, tables_of
from assent.errors import InputError


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("plural")(plural)


def plural(
    file: Annotated[
        Path, typer.Argument(help="Candidate sets; with scores, annotators and groups where people chose.")
    ],
    values: Annotated[
        str, typer.Option(help="Names of the candidates' scores that say which value an answer stands for: a,b,c.")
    ] = "",
    threshold: Annotated[float, typer.Option(help="Score above which an answer stands for a value.")] = 0.5,
    against: Annotated[
        Path | None, typer.Option(help="Another sampler's sets: is every value covered at least as often?")
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="For the diversity of texts: hashed_ngrams, a model folder, or none.")
    ] = "hashed_ngrams",
    smallest_cell: Annotated[
        int, typer.Option(min=1, help="Choices below which a person or a group is not named.")
    ] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the numbers as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write an HTML report.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the permutation tests.")] = 0,
) -> None:
    """Measures candidate sets and choices: coverage of values, diversity, agreement, by annotator and by group.

    Coverage is the share of sets with at least one answer for a value; a correlation ratio below 1 says that sets are
    more varied than independent draws. A personal model must beat the plurality share to be of use.

    Examples:

      assent eval plural choices.jsonl --html plural.html

      assent eval plural varied.jsonl --values traditional,secular --against plain.jsonl
    """
    from assent.evaluation.plural_report import PluralOptions, coverage_compared, plural_report

    names = tuple(name.strip() for name in values.split(",") if name.strip())
    if against is not None and not names:
        raise InputError("coverage is of values", field="--values", remedy="Name the scores that label values")
    rows, others = _read(file), _read(against) if against is not None else []
    encode = _encode(encoder, [*rows, *others])
    options = PluralOptions(names, threshold, smallest_cell, encode, seed)
    numbers: dict[str, Any] = plural_report(rows, options)
    if against is not None:
        numbers |= coverage_compared(numbers, plural_report(others, options))
    text = json.dumps(numbers, indent=1)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
    if as_json:
        typer.echo(text)
    else:
        print_numbers(numbers)
    if html is not None:
        _write_html(numbers, file, html)
        typer.echo(f"report: {html}", err=True)


def _read(path: Path) -> list[Any]:
    from assent.readers import read

    if not path.is_file():
        raise InputError("no such file", where=str(path))
    return list(read(path).comparisons)


def _encode(name: str, comparisons: list[Any]) -> Any:
    from assent.preference_models.encoders import build_encoder
    from assent.preference_models.text import completion_text

    if name == "none":
        return None
    encoder = build_encoder({"encoder": name})
    encoder.fit([completion_text(candidate.completion) for one in comparisons for candidate in one.answers])
    return encoder.encode


def _write_html(numbers: dict[str, Any], file: Path, path: Path) -> None:
    from assent.report import Report

    report = Report("Plural preferences", file.name)
    for title, rows in tables_of(numbers).items():
        report.section(title.replace("_", " "))
        report.table(rows)
    report.write(path)
