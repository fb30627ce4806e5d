"""`assent eval factors` and `assent eval dissection`: which properties of answers drive a judge's preferences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assent.cli import paid_work
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.evaluation.factor_table import FactorTable

CORRELATED = 0.7
"""Correlation of two factors above which a warning is shown."""
FEW_PAIRS = 500

Preferences = Annotated[Path, typer.Argument(help="Judged pairs: the preferences to be explained.")]
Rated = Annotated[
    Path | None, typer.Option(help="The same answers with `scores` by factor (a checklist judge's output).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Html = Annotated[Path | None, typer.Option(help="Also write an HTML report.")]


def register(group: typer.Typer) -> None:
    """Adds the commands to `assent eval`."""
    group.command("factors")(factors)
    group.command("dissection")(dissection)


def factors(
    preferences: Preferences,
    rated: Rated = None,
    other: Annotated[
        Path | None, typer.Option(help="Another judge's preferences on the same answers, to compare with.")
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Differences up to this count as none.")] = 0.0,
    rounds: Annotated[int, typer.Option(min=10, help="Rounds of the bootstrap over prompts.")] = 1000,
    as_json: AsJson = False,
    html: Html = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """For each factor, how much more often the answer with more of it is preferred (PROFILE's tau-14, -1 to 1).

    Length in words is always among the factors. With --other, also how far two judges' profiles agree.

    Example:

      assent judge pairs.jsonl rated.jsonl --judge endpoint --rubric profile --endpoint URL --model M
      assent eval factors people.jsonl --rated rated.jsonl --other model.jsonl
    """
    from dataclasses import asdict

    from assent.evaluation.factor_profile import align_profiles, factor_correlation, factor_score, manifestation
    from assent.evaluation.factor_profile import score_interval as interval_of

    table = _table(preferences, rated)
    signs = {
        name: manifestation(table.first[:, d], table.second[:, d], tolerance) for d, name in enumerate(table.factors)
    }
    profile = {name: factor_score(sign, table.preferred) for name, sign in signs.items()}
    rows: list[dict[str, Any]] = []
    for name, score in profile.items():
        bounds = interval_of(signs[name], table.preferred, table.prompts, rounds, seed)
        low, high = bounds or (None, None)
        rows.append({"factor": name, "tau14": score.tau14, "low": low, "high": high, "ties": score.factor_ties})
    warnings = [
        f"{one} and {two} go together (correlation {value:.2f}): their scores cannot be told apart"
        for (one, two), value in factor_correlation(signs).items()
        if abs(value) > CORRELATED
    ]
    result: dict[str, Any] = {"pairs": len(table.preferred), "left_out": table.left_out, "factors": rows}
    if other is not None:
        second = _table(other, rated)
        theirs = {
            name: factor_score(
                manifestation(second.first[:, d], second.second[:, d], tolerance), second.preferred
            ).tau14
            for d, name in enumerate(second.factors)
        }
        for row in rows:
            row["other"] = theirs.get(row["factor"])
        result["alignment"] = asdict(align_profiles({row["factor"]: row["tau14"] for row in rows}, theirs))
    rows.sort(key=lambda row: -abs(row["tau14"] or 0.0))
    _show("Factors of preference", result, rows, {**result, "warnings": warnings}, as_json, html)


def dissection(
    preferences: Preferences,
    rated: Rated = None,
    samples: Annotated[int, typer.Option(min=50, help="Draws of each of four chains.")] = 2000,
    as_json: AsJson = False,
    html: Html = None,
    seed: Annotated[int, typer.Option(help="Seed of the chains.")] = 0,
) -> None:
    """Weights of all properties together: a Bayesian logistic regression for each group of the pairs.

    `preferred` is the probability that an answer better in this property alone is preferred. Unlike `factors` it
    tells properties apart that occur together, as far as the pairs allow.
    """
    import numpy as np

    from assent.evaluation.dissection import held_out_accuracy, property_weights

    table = _table(preferences, rated)
    rows: list[dict[str, Any]] = []
    scenarios: list[dict[str, Any]] = []
    warnings = []
    for scenario in sorted(set(table.scenarios)):
        here = np.array([one == scenario for one in table.scenarios])
        features = np.sign(table.first[here] - table.second[here])
        labels = (table.preferred[here] > 0).astype(np.float64)
        weights = property_weights(features, labels, samples=samples, seed=seed)
        folds = min(10, int(here.sum()))
        accuracy = held_out_accuracy(features, labels, folds) if folds >= 2 else None
        scenarios.append({"group": scenario, "pairs": int(here.sum()), "held_out_accuracy": accuracy})
        if here.sum() < FEW_PAIRS:
            warnings.append(f"{scenario}: {int(here.sum())} pairs; below {FEW_PAIRS} the prior weighs heavily")
        rows += [
            {
                "group": scenario,
                "property": name,
                "weight": float(weights.mean[d]),
                "low": float(weights.low[d]),
                "high": float(weights.high[d]),
                "preferred": float(weights.probability[d]),
            }
            for d, name in enumerate(table.factors)
        ]
    rows.sort(key=lambda row: (row["group"], -abs(row["weight"])))
    result = {"pairs": len(table.preferred), "left_out": table.left_out, "groups": scenarios, "properties": rows}
    _show("Dissection of preferences", result, rows, {**result, "warnings": warnings}, as_json, html)


def _table(preferences: Path, rated: Path | None) -> FactorTable:
    from assent.evaluation.factor_table import factor_table

    pairs = paid_work.read_comparisons(preferences)
    try:
        return factor_table(pairs, paid_work.read_comparisons(rated) if rated else None)
    except InputError as error:
        raise InputError(error.message, where=str(preferences), found=error.found) from None


def _show(
    title: str,
    result: dict[str, Any],
    rows: list[dict[str, Any]],
    full: dict[str, Any],
    as_json: bool,
    html: Path | None,
) -> None:
    if as_json:
        typer.echo(json.dumps(full, indent=1))
    else:
        table = Table(title=f"{title}: {result['pairs']} pairs")
        for name in rows[0]:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row.values()))
        console = Console()
        console.print(table)
        for name in ("left_out", "groups", "alignment"):
            if result.get(name):
                console.print(Text(f"{name.replace('_', ' ')}: {json.dumps(result[name])}"))
        for line in full["warnings"]:
            console.print(Text(f"warning: {_cell(line)}"))
    if html is not None:
        from assent.report import Report

        report = Report(title, f"{result['pairs']} pairs")
        report.section(title).table(rows)
        for line in full["warnings"]:
            report.callout(line)
        report.write(html)
        typer.echo(f"report: {html}", err=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return "".join(ch if ch.isprintable() else "?" for ch in str(value))
