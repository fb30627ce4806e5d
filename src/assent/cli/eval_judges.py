"""`assent eval judges`: judges of the same answers side by side: agreement, habits, leaning to their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assent.cli import paid_work, shown
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.comparison import Comparison
    from assent.evaluation.matched_verdicts import Verdicts

Own = Annotated[
    list[str] | None,
    typer.Option(
        "--own",
        help="JUDGE=SOURCE: answers that are the judge's own or its family's; may be repeated. Default: equal names.",
    ),
]


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("judges")(judges)


def judges(
    files: Annotated[list[Path], typer.Argument(help="Judged files of the same answers, people's among them.")],
    reference: Annotated[
        str | None, typer.Option(help="The judge that counts as the truth, such as people; default: none.")
    ] = None,
    own: Own = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write an HTML report.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """How far judges agree, what each leans to, and whether it favours answers of its own.

    A judge is what the records' `annotator` says, else the file's name. Pairs are matched by content, so their order
    and the form of the prompt do not matter; a ranked list counts as its pairs. A judge that prefers its own answers
    may be right: only the excess over a --reference (people, or a judge that wrote none of the answers) is bias.

    Example:

      assent eval judges gpt.jsonl people.jsonl --reference people --own gpt=gpt-mini
    """
    from assent.evaluation.judge_agreement import agreements, panel_alpha
    from assent.evaluation.judge_rows import agreement_row, habit_row, own_row, own_sources
    from assent.evaluation.self_preference import self_preference

    records, verdicts = read_judges(files)
    if reference is not None and reference not in verdicts:
        raise InputError("no such judge", field="reference", found=reference, expected=", ".join(verdicts))
    given = own_of(own)
    unknown = sorted(set(given) - set(verdicts))
    if unknown:
        raise InputError("no such judge", field="own", found=unknown[0], expected=", ".join(verdicts))
    truth = verdicts[reference] if reference is not None else None
    own_rows = []
    for name, table in verdicts.items():
        mine = own_sources(name, given)
        found = None if name == reference else self_preference(table, mine, truth, seed=seed)
        if found is not None:
            own_rows.append(own_row(name, mine, found))
    result: dict[str, Any] = {
        "judges": [habit_row(name, records[name], table) for name, table in verdicts.items()],
        "agreement": [agreement_row(names, found) for names, found in agreements(verdicts, seed=seed).items()],
        "alpha": panel_alpha(verdicts) if len(verdicts) > 1 else None,
        "own": own_rows,
    }
    if as_json:
        typer.echo(json.dumps(result, indent=1))
    else:
        for title, rows in sections(result):
            shown.print_table(title, rows)
        typer.echo(alpha_line(result["alpha"]))
    if html is not None:
        write_report(result, files, html)


def read_judges(
    files: Sequence[Path],
) -> tuple[dict[str, list[Comparison]], dict[str, Mapping[Any, Any]]]:
    """The records and the matched verdicts of every judge in the files; a name in two files is told apart by file."""
    from assent.evaluation.matched_verdicts import verdicts_by_judge

    records: dict[str, list[Comparison]] = {}
    verdicts: dict[str, Verdicts] = {}
    for path in files:
        judged = paid_work.read_comparisons(path)
        stem = path.name.partition(".")[0]
        for name, table in verdicts_by_judge(judged, stem).items():
            shown_name = name if name not in verdicts else f"{name} ({path.name})"
            verdicts[shown_name] = table
            records[shown_name] = [one for one in judged if (one.annotator or stem) == name]
    if not verdicts:
        raise InputError("no verdict in these files", where=", ".join(map(str, files)), field="score")
    return records, verdicts


def own_of(given: Sequence[str] | None) -> dict[str, set[str]]:
    """The sources named as each judge's own."""
    found: dict[str, set[str]] = {}
    for item in given or ():
        judge, equals, source = item.rpartition("=")
        if not (judge and equals and source):
            raise InputError("not a judge and a source", field="own", found=item, expected="JUDGE=SOURCE")
        found.setdefault(judge, set()).add(source)
    return found


def sections(result: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The tables that have rows, with their titles."""
    named = [
        ("Judges", result["judges"]),
        ("Agreement, with 95% intervals over prompts", result["agreement"]),
        ("Answers of their own", result["own"]),
    ]
    return [(title, rows) for title, rows in named if rows]


def alpha_line(alpha: float | None) -> str:
    """Krippendorff's alpha in a sentence."""
    if alpha is None:
        return "alpha of all judges: not known (one judge, or no disagreement to measure it by)"
    return f"alpha of all judges: {alpha:.3f} (1: always agree, 0: as chance would)"


def write_report(result: Mapping[str, Any], files: Sequence[Path], html: Path) -> None:
    """The tables as a report."""
    from assent.report import Report

    report = Report("Judges", ", ".join(path.name for path in files))
    captions = {
        "Judges": "Ties, and how often a judge keeps to its verdict when the answers change places.",
        "Answers of their own": (
            "How often a judge prefers answers that are its own. `excess`: minus the reference's rate on the same "
            "pairs. `recall gap`: how much more often it agrees with the reference where that prefers its own."
        ),
    }
    for title, rows in sections(result):
        report.section(title).table(rows, captions.get(title, "Equal verdicts with ties counted; equal winners."))
    report.text(alpha_line(result["alpha"]))
    report.write(html)
    typer.echo(f"report: {html}", err=True)
