"""A curve as lines of text, for terminals."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 61, 11
"""Columns and rows of the drawing; with its labels it stays below 80 columns."""


def text_plot(x: Sequence[float], y: Sequence[float], x_label: str) -> list[str]:
    """Lines of text that draw y over x, at most 79 columns wide.

    Args:
        x: rising numbers.
        y: as many; what is not finite leaves a gap.
        x_label: stands below the axis.
    """
    known = [value for value in y if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    high = high if high > low else low + 1
    cells = [[" "] * WIDTH for _ in range(HEIGHT)]
    if x[0] < 0 < x[-1]:
        zero = round(-x[0] / (x[-1] - x[0]) * (WIDTH - 1))
        for row in cells:
            row[zero] = ":"
    for at, value in zip(x, y, strict=True):
        if math.isfinite(value):
            column = round((at - x[0]) / (x[-1] - x[0]) * (WIDTH - 1))
            cells[round((high - value) / (high - low) * (HEIGHT - 1))][column] = "*"
    labels = {0: f"{high:.4g}", HEIGHT - 1: f"{low:.4g}"}
    lines = [f"{labels.get(number, ''):>10} |{''.join(row)}".rstrip() for number, row in enumerate(cells)]
    ends = f"{x[0]:g}", f"{x[-1]:g}"
    axis = f"{ends[0]}{x_label:^{WIDTH - len(ends[0]) - len(ends[1])}}{ends[1]}"
    return [*lines, " " * 11 + "+" + "-" * WIDTH, " " * 12 + axis]
