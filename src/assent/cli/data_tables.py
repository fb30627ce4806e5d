"""The tables of `assent data inspect` on a terminal: 80 columns are enough, and no text of a file controls it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from assent.evaluation.data_lengths import Lengths
from assent.evaluation.data_summary import DataSummary, Scores
from assent.report.text import plain

BAR = 20
NAME = 40
MOST_BINS = 12
"""Bins of a histogram of lengths; they double, so this reaches a hundred thousand."""


def show(result: Any, summary: DataSummary, console: Console) -> None:
    """Prints everything that is known of a set."""
    _facts(result, summary, console)
    _pairs("Counts", _counts(summary), console)
    _pairs("To look at", _defects(summary), console)
    _lengths(summary, console)
    _scores(summary.scores, console)
    for title in ("annotators", "groups", "contexts", "sources"):
        _names(title, getattr(summary, title), console)


def clean(text: Any, longest: int = NAME) -> str:
    """A text in one line, without anything that could steer a terminal, cut with an ellipsis."""
    line = " ".join(plain(str(text), 4 * longest).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def share(part: float, whole: float) -> str:
    """A share in per cent, or nothing where there is no whole."""
    return f"{100 * part / whole:.1f}%" if whole else ""


def _facts(result: Any, summary: DataSummary, console: Console) -> None:
    console.print(Text(clean(result.source, 78), style="bold"))
    console.print(Text("format  ", style="dim") + Text(result.format))
    console.print(Text("why     ", style="dim") + Text(clean(result.reason, 400)))
    told = f"{result.rows:,} rows, {len(result.comparisons):,} comparisons"
    if result.quarantined:
        told += f", {result.quarantined:,} bad rows set aside"
    console.print(Text("read    ", style="dim") + Text(told))
    if summary.demonstrations:
        console.print(Text("        demonstrations: usable for SFT only (nothing is judged)", style="yellow"))
    console.print()


def _counts(summary: DataSummary) -> Iterable[tuple[str, str, str]]:
    total = summary.counts["comparisons"]
    for name, count in summary.counts.items():
        if count or name in ("comparisons", "candidates"):
            of = summary.counts["candidates"] if "candidate" in name or "labelled" in name else total
            yield name, f"{count:,}", "" if name in ("comparisons", "candidates") else share(count, of)


def _defects(summary: DataSummary) -> Iterable[tuple[str, str, str]]:
    for name, count in summary.defects.items():
        of = summary.counts["candidates" if name == "empty completions" else "comparisons"]
        yield name, f"{count:,}", share(count, of)
    yield f"{summary.unit} in a common prefix", "", share(summary.common_prefix, 1)
    yield f"{summary.unit} saved by prefix sharing", "", share(summary.computed_once, 1)
    wins = summary.longer_wins
    yield "the longer answer wins", "" if wins is None else f"{wins.count:,} pairs", _interval(wins)


def _interval(wins: Any) -> str:
    return "no pairs of unequal length" if wins is None else f"{wins.percent()} (95%)"


def _pairs(title: str, rows: Iterable[tuple[str, str, str]], console: Console) -> None:
    table = _table(title)
    table.add_column("", min_width=30)
    table.add_column("count", justify="right", min_width=10)
    table.add_column("share")
    for row in rows:
        table.add_row(*row)
    _print(table, console)


def _lengths(summary: DataSummary, console: Console) -> None:
    table = _table(f"Lengths in {summary.unit}")
    table.add_column("side")
    for name in ("texts", "mean", "median", "90%", "99%", "longest"):
        table.add_column(name, justify="right")
    for side, of in summary.lengths.items():
        numbers = (of.count, round(of.mean, 1), round(of.median), round(of.p90), round(of.p99), of.longest)
        table.add_row(side, *(f"{number:,}" for number in numbers))
    _print(table, console)
    _histogram(summary, console)


def _histogram(summary: DataSummary, console: Console) -> None:
    """Bars of the two sides that a set is about, over bins that double."""
    shown = [side for side in ("chosen", "rejected", "good", "bad", "answers", "prompt") if side in summary.lengths][
        :2
    ]
    table = _table(f"How long: {' and '.join(shown)}")
    table.add_column(summary.unit, justify="right")
    for side in shown:
        table.add_column(side)
    counted = {side: {bin_[:2]: bin_[2] for bin_ in summary.lengths[side].histogram} for side in shown}
    bins = sorted({edges for found in counted.values() for edges in found})
    peak = max(count / summary.lengths[side].count for side, found in counted.items() for count in found.values())
    for edges in bins[:MOST_BINS]:
        low, high = edges
        name = f"{low:,}" if high - low == 1 else f"{low:,}-{high - 1:,}"
        table.add_row(name, *(_bar(counted[side].get(edges, 0), summary.lengths[side], peak) for side in shown))
    if len(bins) > MOST_BINS:
        rest = [sum(counted[side].get(edges, 0) for edges in bins[MOST_BINS:]) for side in shown]
        table.add_row(
            f"{bins[MOST_BINS][0]:,} and more",
            *(_bar(count, summary.lengths[side], peak) for count, side in zip(rest, shown, strict=True)),
        )
    _print(table, console)


def _bar(count: int, of: Lengths, peak: float) -> str:
    """A bar whose full length is the peak of the histogram, and the share it stands for."""
    part = count / of.count
    return f"{'█' * round(BAR * part / max(peak, part)):<{BAR}} {100 * part:5.1f}%" if count else ""


def _scores(scores: Mapping[str, Scores], console: Console) -> None:
    if not scores:
        return
    table = _table("Scores")
    table.add_column("what")
    for name in ("count", "distinct", "lowest", "median", "mean", "highest"):
        table.add_column(name, justify="right")
    for name, of in scores.items():
        numbers = (of.lowest, of.median, of.mean, of.highest)
        table.add_row(clean(name, 24), f"{of.count:,}", f"{of.distinct:,}", *(f"{number:.4g}" for number in numbers))
    _print(table, console)


def _names(title: str, names: Mapping[str, int], console: Console) -> None:
    if not names:
        return
    table = _table(title.capitalize())
    table.add_column("name")
    table.add_column("records" if title != "sources" else "candidates", justify="right")
    table.add_column("share", justify="right")
    for name, count in names.items():
        table.add_row(Text(clean(name)), f"{count:,}", share(count, sum(names.values())))
    _print(table, console)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False)


def _print(table: Table, console: Console) -> None:
    console.print(table)
    console.print()
