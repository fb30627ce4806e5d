"""A short version of every experiment runs, so that none of them rots."""

import math

import pytest

from experiments.results import Experiment, experiments


@pytest.mark.parametrize("experiment", experiments([]), ids=lambda experiment: experiment.slug)
def test_the_short_version_runs_and_returns_what_it_announces(experiment: Experiment) -> None:
    if experiment.missing_data():
        pytest.skip(f"needs {experiment.missing_data()} (set ASSENT_DATA)")
    numbers = experiment.module.run(0, **getattr(experiment.module, "QUICK", {}))
    assert set(experiment.expected) <= set(numbers)
    assert all(math.isfinite(value) for value in numbers.values())
    assert all(callable(predicate) for predicate in experiment.claims.values())
