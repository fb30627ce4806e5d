"""Figures in one style, and their form inside a report: an image in the file itself.

Figures are transparent with dark ink; the page inverts them on a dark screen, so one drawing serves both.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#1f2933"
FAINT = "#9aa5b1"
COLOURS = ("#2563a8", "#c2571a", "#2f855a", "#9b2c5e", "#6b5ca5", "#8a6d1b", "#3b8ea5", "#7b8794")
"""Distinct also for most colour-blind readers, and on paper."""

LARGEST_SVG = 400_000
"""Bytes beyond which a drawing is stored as pixels: a scatter of 100,000 points is no longer a drawing."""

MOST_INSIDE = 4
"""Names that a legend has room for among the lines; more stand beside them."""

Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def data_uri(figure: Figure) -> str:
    """The figure as a `data:` address: SVG, or PNG where SVG would be large. Equal figures give equal bytes."""
    drawing = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "assent"}):
        figure.savefig(drawing, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    if drawing.tell() <= LARGEST_SVG:
        return "data:image/svg+xml;base64," + base64.b64encode(drawing.getvalue()).decode()
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png", transparent=True, bbox_inches="tight", dpi=160)
    return "data:image/png;base64," + base64.b64encode(pixels.getvalue()).decode()


def line_chart(series: Series, x_label: str, y_label: str) -> Figure:
    """A figure of named lines, each (x, y); drawn in the order given, named in a legend if there are several."""
    figure, axes = _canvas(6.4, 3.0)
    for (name, (x, y)), colour in zip(series.items(), _colours(len(series)), strict=True):
        axes.plot(x, y, color=colour, label=name, linewidth=1.8, marker="o" if len(x) < 2 else None)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if all(float(value).is_integer() for x, _ in series.values() for value in x):
        # Steps and counts: half a step is none.
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(series) > MOST_INSIDE:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="center left", bbox_to_anchor=(1.01, 0.5))
    elif len(series) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def interval_chart(
    rows: Sequence[tuple[str, float, float, float]], x_label: str, neutral: float | None = None
) -> Figure:
    """A figure of estimates with intervals, one row each: (name, low, estimate, high); `neutral` is marked."""
    figure, axes = _canvas(6.4, 0.75 + 0.42 * len(rows))
    for height, (_, low, estimate, high) in enumerate(reversed(rows)):
        clear = neutral is None or low > neutral or high < neutral
        colour = COLOURS[0] if clear else COLOURS[7]
        axes.plot([low, high], [height, height], color=colour, linewidth=3, solid_capstyle="round", alpha=0.55)
        axes.plot([estimate], [height], "o", color=colour, markersize=7)
    if neutral is not None:
        axes.axvline(neutral, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(x_label)
    axes.grid(axis="y", visible=False)
    return figure


def histogram(samples: Mapping[str, Sequence[float]], x_label: str, bins: int = 30) -> Figure:
    """A figure of outlined histograms over common bins, as shares of each sample."""
    figure, axes = _canvas(6.4, 2.8)
    values = [value for sample in samples.values() for value in sample]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    high = high if high > low else low + 1
    edges = [low + (high - low) * index / bins for index in range(bins + 1)]
    for (name, sample), colour in zip(samples.items(), _colours(len(samples)), strict=True):
        weights = [1 / max(1, len(sample))] * len(sample)
        axes.hist(sample, bins=edges, weights=weights, histtype="stepfilled", alpha=0.25, color=colour)
        axes.hist(sample, bins=edges, weights=weights, histtype="step", linewidth=1.6, color=colour, label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel("share")
    if len(samples) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _colours(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8, length=3)
    axes.xaxis.label.set(color=INK, fontsize=9)
    axes.yaxis.label.set(color=INK, fontsize=9)
    axes.grid(color=FAINT, alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes
