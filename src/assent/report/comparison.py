"""The report of a comparison of runs: one table for all measures, one for robustness, figures of what matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assent.evaluation.intervals import Interval
from assent.evaluation.policy_profile import Profile
from assent.evaluation.robustness import Robustness
from assent.report.conflict import add_conflict
from assent.report.figures import interval_chart, line_chart
from assent.report.label_noise import label_noise
from assent.report.page import Report
from assent.report.run import read_metrics

Profiles = Mapping[str, Profile]


def comparison_report(
    title: str,
    facts: Mapping[str, Any],
    profiles: Profiles,
    failed: Mapping[str, str],
    folders: Mapping[str, Path],
    summaries: Mapping[str, Robustness],
    measured_by: str,
) -> Report:
    """The report of runs that differ in their objective.

    Args:
        title: of the page.
        facts: what all runs share.
        profiles: the measures of each run that ended.
        failed: why each other run failed.
        folders: of the runs that ended, for their curves.
        summaries: robustness by objective; empty without a grid.
        measured_by: the name of the score that robustness is about.
    """
    report = Report(title, "Same start, same data, same order, same number of steps; only the objective differs.")
    report.headlines(_headlines(profiles, failed))
    report.key_values(facts)
    if failed:
        report.section("Failed runs")
        report.table([{"run": name, "reason": reason} for name, reason in failed.items()])
    add_measures(report, profiles)
    if summaries:
        add_robustness(report, summaries, measured_by)
    add_conflict(report, folders)
    add_label_trust(report, folders)
    add_curves(report, folders)
    return report


def add_label_trust(report: Report, folders: Mapping[str, Path]) -> None:
    """What the runs that estimate label noise found; nothing where none did."""
    rows = [
        {"run": name, "labels": facts["labels"], "expected share of wrong labels": facts["noise_rate"]}
        for name, folder in folders.items()
        if (facts := label_noise(folder)) is not None
    ]
    if rows:
        report.section("Label noise")
        report.table(rows, "The labels to look at stand in `suspicious.jsonl` of each run's folder.")


def add_measures(report: Report, profiles: Profiles) -> None:
    """The table of measures, and a figure of each that has an interval."""
    report.section("Measures on held-out data")
    report.table(
        [measures_row(name, profile) for name, profile in profiles.items()],
        "Intervals are 95%, by bootstrap over comparisons or prompts. Log-ratios are against the common start, also "
        "for objectives that use no reference. A log-ratio can rank nearly all pairs right while the policy itself "
        "still prefers the wrong texts. Changes, KL and lengths: nats and tokens.",
    )
    figures = {
        "Pairs ranked right by log-ratio to the start": ("by_log_ratio", 0.5),
        "Win rate against the start": ("win_rate", 0.5),
        "KL to the start, nats for each answer": ("kl", 0.0),
        "Tokens of an answer": ("length", None),
        "Change of the chosen answers' log-probability, nats": ("chosen", 0.0),
        "Change of the rejected answers' log-probability, nats": ("rejected", 0.0),
    }
    for caption, (name, neutral) in figures.items():
        rows = [
            (run, value.low, value.estimate, value.high)
            for run, profile in profiles.items()
            if isinstance(value := getattr(profile, name), Interval)
        ]
        if rows:
            report.figure(interval_chart(rows, caption, neutral), f"{caption}. {_how_to_read(neutral)}")


def _how_to_read(neutral: float | None) -> str:
    """What the marks of an interval chart mean."""
    bars = "Dots are estimates, bars their 95% intervals"
    return f"{bars}." if neutral is None else f"{bars}; grey where the interval holds {neutral:g}, the dashed line."


def measures_row(name: str, profile: Profile) -> dict[str, Any]:
    """One row of the table."""
    row: dict[str, Any] = {
        "run": name,
        "ranked right (log-ratio)": _percent(profile.by_log_ratio),
        "ranked right (log-probability)": _percent(profile.by_policy),
        "ranked right (per token)": _percent(profile.by_mean),
    }
    if profile.dimensions:
        row |= {f"ranked right: {name}": _percent(value) for name, value in profile.dimensions.items()}
    if profile.win_rate is not None:
        row["win rate"] = profile.win_rate.percent()
        row["won/lost/tied/unjudged"] = f"{profile.wins}/{profile.losses}/{profile.ties}/{profile.unjudged}"
    return row | {
        "KL": str(profile.kl),
        "KL per token": profile.kl_token,
        "chosen moved": _text(profile.chosen),
        "rejected moved": _text(profile.rejected),
        "tokens": f"{profile.length.estimate:.1f}",
        "median": profile.length_median,
        "95%": profile.length_high,
        "cut off": f"{100 * profile.cut:.0f}%",
        "repeated": f"{100 * profile.repeated:.0f}%",
    }


def add_robustness(report: Report, summaries: Mapping[str, Robustness], measured_by: str) -> None:
    """What each objective gives to somebody who cannot tune it."""
    report.section("Robustness to hyperparameters")
    report.table(
        [
            {
                "objective": name,
                "runs": one.runs,
                "failed": one.failed,
                "best": one.best,
                "mean of 3 best": one.top,
                "median": one.median,
                "mean": one.mean,
                "worst": one.worst,
                "deviation": one.deviation,
                "near the best of all": f"{100 * one.near_best:.0f}%",
                "better than the start": None if one.above_start is None else f"{100 * one.above_start:.0f}%",
            }
            for name, one in summaries.items()
        ],
        f"{measured_by} over the grid. Failed runs count as the worst score seen. After Ahrabian et al. 2024, arXiv "
        "2407.15229.",
    )
    best = sorted(summaries, key=lambda name: -summaries[name].best)
    mean = sorted(summaries, key=lambda name: -summaries[name].mean)
    verdict = f"By the best run: {', '.join(best)}. By the mean run: {', '.join(mean)}."
    report.callout(verdict if best == mean else f"{verdict} The two disagree: tuning decides.")
    lines = {name: ([float(at + 1) for at in range(one.runs)], one.budget) for name, one in summaries.items()}
    report.figure(
        line_chart(lines, "runs that one can afford", f"expected best {measured_by}"),
        "The expected best of so many runs drawn from the grid, exactly.",
    )


def add_curves(report: Report, folders: Mapping[str, Path]) -> None:
    """The course of training of all runs in one plot for each quantity."""
    report.section("Curves")
    for key, caption in (
        ("rewards/accuracies", "Share of pairs ranked right in training"),
        ("logps/chosen", "Log-probability of chosen answers, nats"),
        ("logps/rejected", "Log-probability of rejected answers, nats"),
    ):
        lines = {name: read_metrics(folder, key) for name, folder in folders.items()}
        lines = {name: points for name, points in lines.items() if points[0]}
        if lines:
            report.figure(line_chart(lines, "step", caption), caption)


def _headlines(profiles: Profiles, failed: Mapping[str, str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"label": "Runs", "value": len(profiles) + len(failed)}]
    if failed:
        rows.append({"label": "Failed", "value": len(failed)})
    for label, name in (("Highest ranking accuracy", "by_log_ratio"), ("Highest win rate", "win_rate")):
        found = {run: value for run, profile in profiles.items() if (value := getattr(profile, name)) is not None}
        if found:
            top = max(found, key=lambda run: found[run].estimate)
            rows.append({"label": label, "value": found[top].percent(), "detail": top})
    return rows


def _percent(value: Interval | None) -> str | None:
    return None if value is None else value.percent()


def _text(value: Interval | None) -> str | None:
    return None if value is None else str(value)


def samples_rows(
    prompts: Sequence[str], before: Sequence[str], after: Sequence[str], count: int = 5
) -> list[dict[str, Any]]:
    """Rows for `Report.samples`: the same prompts before and after."""
    return [
        {"prompt": prompt, "before": one, "after": other}
        for prompt, one, other in list(zip(prompts, before, after, strict=True))[:count]
    ]
