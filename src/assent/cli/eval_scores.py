"""`assent eval scores`: MT-Bench style ratings of one or more systems, by turn and by category."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assent.cli import paid_work, shown

if TYPE_CHECKING:
    from assent.evaluation.turn_scores import ScoreDifference, SystemScores, TurnScore


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("scores")(scores)


def scores(
    files: Annotated[list[Path], typer.Argument(help="Rated answers: what `assent judge --mode critique` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write an HTML report with the ratings to browse.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Mean rating of each system, by turn and category, and whether neighbours differ by more than chance.

    Turns and categories come from the records: `assent generate` on questions with `turns` and `category` writes
    both. Intervals and tests count questions, not answers. The judge's scale is the rubric's (`overall`: 1 to 10).

    Example:

      assent generate questions.jsonl mine.jsonl --model ./mine
      assent judge mine.jsonl rated.jsonl --judge endpoint --endpoint URL --model M --rubric overall
      assent eval scores rated.jsonl others.jsonl
    """
    from assent.evaluation.turn_scores import turn_scores

    judged = [one for path in files for one in paid_work.read_comparisons(path)]
    systems, differences = ranked(turn_scores(judged), seed)
    if as_json:
        detail = {"systems": [asdict(one) for one in systems], "differences": [asdict(one) for one in differences]}
        typer.echo(json.dumps(detail, indent=1))
    else:
        for title, table in tables(systems, differences):
            shown.print_table(title, table)
    if html is not None:
        from assent.report import Report

        report = Report("Ratings", ", ".join(path.name for path in files))
        for title, table in tables(systems, differences):
            report.section(title).table(table, CAPTIONS[title])
        report.section("Rated answers").comparisons(judged, "Each prompt with its answers and their ratings.")
        report.write(html)
        typer.echo(f"report: {html}", err=True)


CAPTIONS = {
    "Ratings": "Mean over turns and questions with a 95% interval over questions; unrated answers are left out.",
    "By category": "Mean rating of each system in each category.",
    "Neighbours": "Mean difference where both are rated, with a 95% interval and a sign-flip test over questions.",
}


def tables(systems: list[SystemScores], differences: list[ScoreDifference]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The tables of ratings with their titles."""
    turns = sorted({turn for one in systems for turn in one.turns})
    categories = sorted({name for one in systems for name in one.categories})
    ratings = [
        {
            "system": one.system,
            "mean": f"{one.mean.estimate:.2f} [{one.mean.low:.2f}, {one.mean.high:.2f}]",
            **({f"turn {turn}": rounded(one.turns.get(turn)) for turn in turns} if len(turns) > 1 else {}),
            "rated": one.rated,
            "unrated": one.unrated,
        }
        for one in systems
    ]
    by_category = [
        {"category": name, **{one.system: rounded(one.categories.get(name)) for one in systems}}
        for name in categories
    ]
    gaps = [
        {
            "first": one.first,
            "second": one.second,
            "difference": f"{one.difference.estimate:+.2f} [{one.difference.low:+.2f}, {one.difference.high:+.2f}]",
            "p": float(f"{one.p_value:.2g}"),
            "answers": one.answers,
        }
        for one in differences
    ]
    named: list[tuple[str, list[dict[str, Any]]]] = [
        ("Ratings", ratings),
        ("By category", by_category if len(categories) > 1 else []),
        ("Neighbours", gaps),
    ]
    return [(title, rows) for title, rows in named if rows]


def rounded(value: float | None) -> float | None:
    """A mean rating to two places."""
    return None if value is None else round(value, 2)


def ranked(rows: Sequence[TurnScore], seed: int) -> tuple[list[SystemScores], list[ScoreDifference]]:
    """The systems, best first, and how each differs from the next."""
    from assent.evaluation.turn_scores import score_difference, system_scores

    systems = system_scores(rows, seed=seed)
    neighbours = pairwise(systems)
    found = [score_difference(rows, one.system, other.system, seed=seed) for one, other in neighbours]
    return systems, [one for one in found if one is not None]
