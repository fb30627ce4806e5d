"""Robustness summaries and the lattice of user weights."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from assent.errors import InputError
from assent.evaluation.robustness import expected_best, robustness
from assent.training.weight_sweep import simplex_lattice

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "ln-dpo.json").read_text())["cases"]


def test_the_summary_of_a_grid_is_that_of_the_study() -> None:
    case = next(case for case in CASES if case["name"] == "robustness_summary")
    expected = case["expected"]
    found = robustness(case["inputs"]["run_scores"])
    assert found.best == pytest.approx(expected["best"])
    assert found.mean == pytest.approx(expected["mean"])
    assert found.worst == pytest.approx(expected["worst"])
    assert found.deviation == pytest.approx(expected["std_population"])
    assert found.top == pytest.approx(expected["top_k_mean_3"])


def test_the_expected_best_is_the_mean_over_all_draws() -> None:
    scores = [0.3, 0.9, 0.1, 0.5, 0.5]
    for count in range(1, 6):
        draws = [max(draw) for draw in itertools.combinations(scores, count)]
        assert expected_best(scores, count) == pytest.approx(np.mean(draws))
    with pytest.raises(InputError):
        expected_best(scores, 6)


def test_a_failed_run_counts_as_the_worst() -> None:
    found = robustness([0.8, float("nan"), 0.6], start=0.5)
    assert (found.failed, found.worst, found.runs) == (1, 0.5, 3)
    assert found.above_start == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="no run has a score"):
        robustness([float("nan")])


def test_near_the_best_is_measured_from_the_best_of_all() -> None:
    assert robustness([0.80, 0.77, 0.5], best=0.8).near_best == pytest.approx(2 / 3)
    assert robustness([0.70, 0.69], best=0.8).near_best == 0
    # A share of a negative best still lies below it.
    assert robustness([-1.0, -1.04, -2.0]).near_best == pytest.approx(2 / 3)


@pytest.mark.parametrize(("terms", "points", "count"), [(2, 5, 5), (3, 3, 6), (3, 5, 15)])
def test_the_lattice_covers_the_simplex(terms: int, points: int, count: int) -> None:
    rows = simplex_lattice(terms, points)
    assert len(rows) == len(set(rows)) == count
    assert all(sum(row) == pytest.approx(1) and min(row) >= 0 for row in rows)
    assert {row for row in rows if max(row) == 1} == {
        tuple(float(at == one) for at in range(terms)) for one in range(terms)
    }
