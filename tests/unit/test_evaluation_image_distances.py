"""Distances between sets of pictures, against values known by mathematics."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import sqrtm

from assent.cli.main import main
from assent.errors import InputError
from assent.evaluation.distance_intervals import distances_with_intervals
from assent.evaluation.image_distances import density_and_coverage, frechet_distance, kernel_distance

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(400, 6))


def test_frechet_distance_of_a_set_to_itself_shifted_and_scaled() -> None:
    assert frechet_distance(REAL, REAL) == pytest.approx(0, abs=1e-9)
    shift = np.arange(6.0)
    assert frechet_distance(REAL + shift, REAL) == pytest.approx(shift @ shift)
    # Scaling by s about the mean changes only the covariance: (s - 1)^2 tr C.
    scaled = (REAL - REAL.mean(axis=0)) * 3 + REAL.mean(axis=0)
    assert frechet_distance(scaled, REAL) == pytest.approx(4 * np.trace(np.cov(REAL, rowvar=False)))
    other = RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6))
    assert frechet_distance(other, REAL) == pytest.approx(frechet_distance(REAL, other))


def test_frechet_distance_equals_the_formula_with_a_matrix_root() -> None:
    # As published implementations have it: the root of the product, by Schur's method.
    for seed in range(5):
        generator = np.random.default_rng(seed)
        first = generator.normal(size=(50, 8)) @ generator.normal(size=(8, 8)) + generator.normal(size=8)
        second = generator.normal(size=(70, 8)) @ generator.normal(size=(8, 8))
        one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
        root = sqrtm(one @ two).real
        apart = first.mean(axis=0) - second.mean(axis=0)
        expected = apart @ apart + np.trace(one + two - 2 * root)
        assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_precision_and_recall_tell_invention_from_omission() -> None:
    real = np.concatenate([RNG.normal(size=(100, 2)), RNG.normal(size=(100, 2)) + 50])
    # Half of what is generated is nowhere near anything real; the other half is one of the two real modes.
    generated = np.concatenate([RNG.normal(size=(100, 2)), RNG.normal(size=(100, 2)) - 50])
    found = density_and_coverage(generated, real)
    assert found.precision == pytest.approx(0.5, abs=0.06)
    assert found.recall == pytest.approx(0.5, abs=0.06)
    same = density_and_coverage(real, real)
    assert (same.precision, same.recall, same.coverage) == (1.0, 1.0, 1.0)
    # Counted by hand: the real ones reach 1, 1 and 8 to their nearest, the generated ones 3.
    line = density_and_coverage(np.array([[0.5], [3.5]]), np.array([[0.0], [1.0], [9.0]]), k=1)
    assert (line.precision, line.recall) == (1.0, 2 / 3)
    assert line.density == pytest.approx(3 / 2)


def test_intervals_hold_what_other_samples_would_give() -> None:
    """The jackknife's spread against that of fresh samples of both sets."""

    def drawn(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return generator.normal(size=(200, 4)) * 0.8 + 0.3, generator.normal(size=(200, 4))

    generator = np.random.default_rng(1)
    fresh = [distances_with_intervals(*drawn(generator), groups=2) for _ in range(40)]
    stated = [distances_with_intervals(*drawn(generator)) for _ in range(6)]
    for name in ("frechet_distance", "kernel_distance", "density", "coverage", "precision", "recall"):
        spread = float(np.std([one[name].estimate for one in fresh]))
        half = float(np.median([(one[name].high - one[name].low) / 2 for one in stated]))
        # 2.09 deviations for 20 groups; nearest neighbours are not smooth, so a wide interval is allowed.
        assert 0.6 < half / (2.09 * spread) < 2.5, name


def test_too_few_pictures_for_an_interval_are_refused() -> None:
    with pytest.raises(InputError, match="too few pictures"):
        distances_with_intervals(REAL[:12], REAL[12:40])


def test_frechet_distance_with_fewer_pictures_than_features_is_real() -> None:
    few = RNG.normal(size=(4, 6))
    assert np.isfinite(frechet_distance(few, few + 1))
    assert frechet_distance(few + 1, few) == pytest.approx(6)


def test_kernel_distance_is_unbiased_and_equals_its_definition() -> None:
    first, second = REAL[:5], REAL[5:9]

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 6 + 1) ** 3)

    own = np.mean([k(a, b) for i, a in enumerate(first) for j, b in enumerate(first) if i != j])
    real = np.mean([k(a, b) for i, a in enumerate(second) for j, b in enumerate(second) if i != j])
    cross = np.mean([k(a, b) for a in first for b in second])
    assert kernel_distance(first, second) == pytest.approx(own + real - 2 * cross)
    drawn = [kernel_distance(RNG.normal(size=(30, 4)), RNG.normal(size=(30, 4))) for _ in range(200)]
    assert abs(np.mean(drawn)) < 4 * np.std(drawn) / np.sqrt(200)


def test_coverage_falls_where_modes_are_lost_and_density_does_not() -> None:
    real = np.concatenate([RNG.normal(size=(100, 2)), RNG.normal(size=(100, 2)) + 50])
    alike = np.concatenate([RNG.normal(size=(100, 2)), RNG.normal(size=(100, 2)) + 50])
    collapsed = RNG.normal(size=(200, 2))
    whole, half = density_and_coverage(alike, real), density_and_coverage(collapsed, real)
    assert whole.coverage > 0.9
    assert half.coverage <= 0.5
    assert half.density > 0.8
    assert density_and_coverage(real + 1000, real).coverage == 0


def test_what_cannot_be_measured_is_refused() -> None:
    for generated, real in ((REAL[:1], REAL), (REAL[:, :3], REAL), (np.full((3, 6), np.nan), REAL)):
        with pytest.raises(InputError):
            frechet_distance(generated, real)
    with pytest.raises(InputError, match="below the number"):
        density_and_coverage(REAL, REAL[:4], 5)


def test_the_command_prints_all_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", REAL)
    np.save(tmp_path / "b.npy", REAL + 1)
    with pytest.raises(SystemExit) as ended:
        main(["eval", "images", str(tmp_path / "a.npy"), str(tmp_path / "b.npy")])
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frechet_distance"] == pytest.approx(6)
    low, high = found["frechet_distance_interval"]
    assert low < 6 < high
    (tmp_path / "c.npy").write_bytes(b"no array")
    with pytest.raises(SystemExit) as ended:
        main(["eval", "images", str(tmp_path / "a.npy"), str(tmp_path / "c.npy")])
    assert ended.value.code == 2
