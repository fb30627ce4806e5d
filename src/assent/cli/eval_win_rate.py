"""`assent eval win-rate`: raw, discrete and length-controlled win rates of judged lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assent.errors import InputError

JOINT_MINIMUM = 5


def register(group: typer.Typer) -> None:
    """Adds the command to `assent eval`."""
    group.command("win-rate")(win_rates)


def win_rates(
    file: Annotated[
        Path, typer.Argument(help="Judged lists: each candidate names its source, the baseline scores 0.5.")
    ],
    baseline: Annotated[
        str | None, typer.Option(help="Name of the baseline; found by itself where possible.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write an HTML report.")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Rounds of the rating's bootstrap over prompts.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Win rates against the baseline with standard errors, length control, and Bradley-Terry ratings.

    A rate is the mean of the judge's preferences in per cent; the discrete one rounds each first. The
    length-controlled rate is what AlpacaEval 2 fits, with the difficulty of each prompt estimated from the systems
    in the file (five or more; otherwise without). `p` tests the raw rate against the next row's on the same prompts
    (the last row's against the baseline), by flipping signs.
    """
    from assent.readers import read

    rows = leaderboard(read(file).comparisons, baseline, bootstrap, seed)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _print(rows)
    if html is not None:
        from assent.report import Report

        report = Report("Win rates", str(file))
        report.section("Leaderboard")
        report.table(rows, "Rates in per cent, ratings on the Elo scale with 95% bootstrap intervals over prompts.")
        report.write(html)
        typer.echo(f"report: {html}", err=True)


def leaderboard(comparisons: Any, baseline: str | None, bootstrap: int, seed: int) -> list[dict[str, Any]]:
    """One row for each system, best length-controlled rate first."""
    import numpy as np

    from assent.evaluation.length_controlled import instruction_difficulty, length_controlled
    from assent.evaluation.ratings import bootstrap_ratings, bradley_terry, resamples
    from assent.evaluation.win_rate import verdicts, win_rate

    if not comparisons:
        raise InputError("no comparison to count")
    judged = verdicts(comparisons, baseline)
    difficulty = (
        instruction_difficulty(judged.preference, judged.length_gap)
        if len(judged.preference) >= JOINT_MINIMUM
        else None
    )
    battles, prompts = [], []
    for name, preference in judged.preference.items():
        for index in np.flatnonzero(~np.isnan(preference)):
            battles.append((name, judged.baseline, float(preference[index])))
            prompts.append(str(index))
    systems = [judged.baseline, *judged.preference]
    ratings = bradley_terry(battles, systems)
    intervals: dict[str, tuple[float, float]] = {}
    if bootstrap:
        elo, _ = bootstrap_ratings(battles, systems, resamples(len(battles), bootstrap, seed, prompts))
        low, high = np.percentile(elo, [2.5, 97.5], axis=0)
        intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(systems)}
    rows: list[dict[str, Any]] = []
    for name, preference in judged.preference.items():
        raw = win_rate(preference)
        controlled = length_controlled(preference, judged.length_gap[name], difficulty)
        rows.append(
            {
                "system": name,
                "win_rate": raw.win_rate,
                "standard_error": raw.standard_error,
                "length_controlled": controlled.win_rate,
                "discrete": raw.discrete_win_rate,
                "judged": raw.judged,
                "unjudged": raw.unjudged,
                "mean_length": judged.mean_length[name],
                "elo": float(ratings.elo[systems.index(name)]),
                "elo_low": intervals.get(name, (None, None))[0],
                "elo_high": intervals.get(name, (None, None))[1],
            }
        )
    rows.sort(key=lambda row: -float(row["length_controlled"]))
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        one = judged.preference[row["system"]]
        other = judged.preference[following["system"]] if following else np.full(len(one), 0.5)
        row["p_next"] = _p_value(one - other, seed)
    return rows


def _p_value(differences: Any, seed: int) -> float | None:
    """Whether two systems' raw rates differ by more than chance; None where no prompt has both."""
    import numpy as np

    from assent.evaluation.significance import sign_flip_test

    return None if np.isnan(differences).all() else sign_flip_test(differences, seed=seed)


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(title="Win rates against the baseline (%)")
    for name in ("system", "win rate", "LC", "discrete", "judged", "length", "Elo", "p"):
        table.add_column(name, justify="left" if name == "system" else "right", overflow="fold")
    for row in rows:
        table.add_row(
            Text(_printable(row["system"])),
            f"{row['win_rate']:.2f} ± {row['standard_error']:.2f}",
            f"{row['length_controlled']:.2f}",
            f"{row['discrete']:.2f}",
            str(row["judged"]),
            f"{row['mean_length']:.0f}",
            f"{row['elo']:.0f}",
            "-" if row["p_next"] is None else f"{row['p_next']:.2g}",
        )
    Console().print(table)


def _printable(text: str) -> str:
    return "".join(ch if ch.isprintable() else "?" for ch in text)
