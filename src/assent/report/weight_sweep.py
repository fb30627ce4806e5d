"""The report of a sweep over user weights: the front, how much it covers, and how the objectives were in conflict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from assent.report.comparison import add_curves, add_measures
from assent.report.conflict import add_conflict
from assent.report.figures import COLOURS, line_chart
from assent.report.page import Report


def sweep_report(
    facts: Mapping[str, Any],
    names: Sequence[str],
    runs: Mapping[str, Mapping[str, Any]],
    profiles: Mapping[str, Any],
    failed: Mapping[str, str],
    folders: Mapping[str, Path],
) -> Report:
    """The report of runs that differ in the user's weights.

    Args:
        facts: what all runs share, with `hypervolume` and `reference point`.
        names: the dimensions.
        runs: weights, scores by dimension and `on_front` of each run.
        profiles: the measures of each run.
        failed: why each other run failed.
        folders: of the runs, for their records of conflict.
    """
    report = Report(
        f"User weights over {', '.join(names)}", "Same start, same data, same order, same number of steps."
    )
    report.headlines(
        [
            {"label": "Runs", "value": len(runs)},
            {"label": "On the front", "value": sum(bool(run["on_front"]) for run in runs.values())},
            {
                "label": "Hypervolume",
                "value": facts["hypervolume"],
                "detail": "over one reference point for all runs",
            },
        ]
    )
    report.key_values(facts)
    if failed:
        report.section("Failed runs").table([{"run": name, "reason": reason} for name, reason in failed.items()])
    report.section("Front")
    report.table(
        [
            {
                "run": name,
                **{f"weight: {key}": value for key, value in run["weights"].items()},
                **{f"ranked right: {key}": value for key, value in run["scores"].items()},
                "on the front": "yes" if run["on_front"] else "no",
            }
            for name, run in runs.items()
        ],
        "Held-out pairs that the log-ratio to the start ranks as the dimension's scores do. A run is on the front if "
        "no other is at least as good everywhere and better somewhere. On convex problems trained to the end, "
        "combinations that follow the weights end alike and differ only in their path.",
    )
    if len(names) == 2:
        report.figure(front_chart(names, runs), "Each run by its two scores; the front is joined.")
    if not add_conflict(report, folders):
        report.section("Conflict").text("No step recorded how the gradients lay to each other.")
    add_measures(report, profiles)
    add_curves(report, folders)
    return report


def front_chart(names: Sequence[str], runs: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A figure of two scores, the front joined by a line."""
    points = [(run["scores"][names[0]], run["scores"][names[1]], bool(run["on_front"])) for run in runs.values()]
    front = sorted((x, y) for x, y, best in points if best)
    figure = line_chart({"front": ([x for x, _ in front], [y for _, y in front])}, names[0], names[1])
    for x, y, best in points:
        figure.axes[0].plot([x], [y], "o", color=COLOURS[0] if best else COLOURS[7], markersize=6)
    return figure
