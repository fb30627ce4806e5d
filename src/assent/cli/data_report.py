"""The HTML report of `assent data inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from assent.evaluation.data_summary import DataSummary
from assent.report import Report, interval_chart
from assent.report.figures import COLOURS

SHOWN = 20
MOST_DIMENSIONS = 8


def report_of(result: Any, summary: DataSummary) -> Report:
    """The report of what was read and what is in it."""
    report = Report("Preference data", str(result.source))
    report.headlines(
        [
            {"label": "comparisons", "value": len(result.comparisons)},
            {"label": "candidates", "value": summary.counts["candidates"]},
            {"label": "bad rows set aside", "value": result.quarantined, "detail": f"of {result.rows:,} rows"},
        ]
    )
    if summary.demonstrations:
        report.callout("Demonstrations: usable for SFT only, since nothing in this set is judged.")
    report.section("What it is")
    report.text(f"Format {result.format}: {result.reason}.")
    report.text(f"Fingerprint of what was read: {result.fingerprint}")
    _counts(report, summary)
    _lengths(report, summary)
    _scores(report, summary)
    for title in ("annotators", "groups", "contexts", "sources"):
        names: Mapping[str, int] = getattr(summary, title)
        if names:
            report.section(title.capitalize())
            report.table([{"name": name, "count": count} for name, count in names.items()])
    report.section("Records")
    report.comparisons(result.comparisons[:SHOWN], "The first records, as they were read.")
    return report


def _counts(report: Report, summary: DataSummary) -> None:
    report.section("Counts")
    report.key_values({name: count for name, count in summary.counts.items() if count})
    report.section("To look at")
    report.table([{"what": name, "count": count} for name, count in summary.defects.items()])
    report.key_values(
        {
            f"{summary.unit} in a common prefix": f"{100 * summary.common_prefix:.1f}%",
            f"{summary.unit} saved by computing prefixes once": f"{100 * summary.computed_once:.1f}%",
        }
    )
    wins = summary.longer_wins
    if wins is not None:
        row = ("the longer answer wins", wins.low, wins.estimate, wins.high)
        caption = f"{wins.percent()} of {wins.count:,} pairs of unequal length, with the 95% Wilson interval."
        report.figure(interval_chart([row], "share of pairs", neutral=0.5), caption)


def _lengths(report: Report, summary: DataSummary) -> None:
    report.section("Lengths")
    report.table(
        [
            {
                "side": side,
                "texts": of.count,
                "mean": round(of.mean, 1),
                "median": of.median,
                "90%": of.p90,
                "99%": of.p99,
                "longest": of.longest,
            }
            for side, of in summary.lengths.items()
        ],
        f"In {summary.unit}.",
    )
    report.figure(_length_figure(summary), f"Lengths in {summary.unit}; the bins double.")


def _scores(report: Report, summary: DataSummary) -> None:
    if not summary.scores:
        return
    report.section("Scores")
    report.table(
        [
            {
                "what": name,
                "count": of.count,
                "distinct": of.distinct,
                "lowest": of.lowest,
                "median": of.median,
                "mean": of.mean,
                "highest": of.highest,
            }
            for name, of in summary.scores.items()
        ]
    )
    if any(of.distinct > 1 for of in summary.scores.values()):
        report.figure(_score_figure(summary), "How often each range of scores occurs.")


def _length_figure(summary: DataSummary) -> Figure:
    figure = Figure(figsize=(6.4, 3.0))
    axes = figure.subplots()
    edges = sorted({bin_[0] for of in summary.lengths.values() for bin_ in of.histogram})
    for colour, (side, of) in zip(COLOURS, summary.lengths.items(), strict=False):
        share = {bin_[0]: 100 * bin_[2] / of.count for bin_ in of.histogram}
        axes.plot(range(len(edges)), [share.get(edge, 0) for edge in edges], "o-", color=colour, label=side)
    axes.set_xticks(range(len(edges)), [f"{edge:,}+" for edge in edges], fontsize=7)
    axes.set_ylabel("% of texts")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _score_figure(summary: DataSummary) -> Figure:
    shown = [item for item in summary.scores.items() if item[1].distinct > 1][:MOST_DIMENSIONS]
    figure = Figure(figsize=(6.4, 1.5 * len(shown)), layout="constrained")
    for axes, (name, of) in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        centres = [(low + high) / 2 for low, high, _ in of.histogram]
        width = max(of.histogram[0][1] - of.histogram[0][0], 1e-3 * max(1.0, abs(of.highest))) * 0.9
        axes.bar(centres, [count for _, _, count in of.histogram], width=width, color=COLOURS[0])
        # A dimension is named by the file: no text of it is read as a formula.
        axes.set_title(name, fontsize=8, loc="left", parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
    return figure
