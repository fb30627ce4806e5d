"""Fronts and hypervolumes against fixtures, brute force and hand-made cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assent.errors import InputError
from assent.evaluation.pareto import (
    compare_fronts,
    coverage,
    hypervolume,
    inverted_generational_distance,
    non_dominated,
    reference_point,
)

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "raco.json").read_text())
CASE = next(case for case in FIXTURE["cases"] if case["name"] == "hypervolume_maximise")


@pytest.mark.parametrize("size", ["2d", "3d"])
def test_front_and_hypervolume_equal_the_fixture(size: str) -> None:
    points, reference = CASE["inputs"][f"points_{size}"], CASE["inputs"][f"reference_{size}"]
    assert non_dominated(points) == CASE["expected"][f"nondominated_{size}"]
    assert hypervolume(points, reference) == pytest.approx(CASE["expected"][f"hypervolume_{size}"], rel=1e-12)


def test_hypervolume_in_four_dimensions_equals_counting() -> None:
    random = np.random.default_rng(0)
    points = random.integers(1, 5, size=(6, 4)).astype(float)
    cells = np.stack(np.meshgrid(*[np.arange(4)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    covered = (points[:, None, :] >= cells[None, :, :] + 1).all(axis=2).any(axis=0).sum()
    assert hypervolume(points, np.zeros(4)) == pytest.approx(float(covered))


def test_a_dominated_point_and_a_point_below_the_reference_add_nothing() -> None:
    front = [[1.0, 3.0], [3.0, 1.0]]
    assert hypervolume([*front, [0.5, 0.5], [5.0, -1.0]], [0, 0]) == hypervolume(front, [0, 0]) == 5.0
    assert hypervolume([[-1.0, -1.0]], [0, 0]) == 0.0


def test_equal_points_are_all_on_the_front() -> None:
    assert non_dominated([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0], [1.0, 0.0]]) == [0, 1, 2]


def test_coverage_and_distance() -> None:
    assert coverage([[2.0, 2.0]], [[1.0, 1.0], [2.0, 2.0], [3.0, 0.0]]) == pytest.approx(1 / 3)
    assert inverted_generational_distance([[0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]]) == pytest.approx(2.5)


def test_compared_sets_share_scale_and_reference() -> None:
    better, worse = [[10.0, 1.0], [0.0, 5.0]], [[9.0, 0.9], [0.0, 4.0]]
    weights = {"better": [[1.0, 0.0], [0.0, 1.0]], "worse": [[1.0, 0.0], [0.0, 1.0]]}
    found = compare_fronts({"better": better, "worse": worse}, weights)
    assert found["better"].hypervolume > found["worse"].hypervolume
    assert found["better"].distance == 0 < found["worse"].distance
    assert found["better"].served == pytest.approx(7.5)
    assert (reference_point(better, worse) < 0.91).all()


@pytest.mark.parametrize("points", [[], [[1.0, float("nan")]], [1.0, 2.0]])
def test_points_that_are_none_are_refused(points: list[float]) -> None:
    with pytest.raises(InputError):
        non_dominated(points)
    with pytest.raises(InputError):
        hypervolume([[1.0, 2.0]], [0.0])
