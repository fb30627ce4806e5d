"""What a reader of the figures needs: whole steps on the axis, and names that hide no line."""

import pytest

from assent.report.figures import line_chart


@pytest.mark.parametrize(("count", "inside"), [(2, True), (4, True), (8, False)])
def test_a_long_legend_stands_beside_the_lines(count: int, inside: bool) -> None:
    figure = line_chart({f"run {at}": ([1.0, 2.0, 3.0], [at, at, at]) for at in range(count)}, "step", "loss")
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    figure.canvas.draw()
    assert bool(legend.get_window_extent().x1 <= axes.get_window_extent().x1 + 1) is inside


def test_steps_are_whole() -> None:
    axes = line_chart({"run": ([10.0, 20.0, 30.0], [0.1, 0.2, 0.3])}, "step", "loss").axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    halves = line_chart({"run": ([0.1, 0.2], [0.1, 0.2])}, "KL", "reward").axes[0]
    assert any(not float(tick).is_integer() for tick in halves.get_xticks())
