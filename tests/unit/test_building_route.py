"""Routing against independent numbers, and on data where the right routing is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assent.building import route
from assent.building.route_features import route_features
from assent.building.route_labels import RoutingJob, route_labels
from assent.comparison import Candidate, Comparison
from assent.errors import InputError

FIXTURE = Path(__file__).parents[1] / "fixtures" / "hybrid-routing.json"


def case(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    for one in json.loads(FIXTURE.read_text())["cases"]:
        if one["name"] == name:
            return one["inputs"], one.get("hyper", {}), one["expected"]
    raise KeyError(name)


def predictor(powers: Any, weights: Any, intercept: float) -> route.Predictor:
    table = np.array(powers)
    return route.Predictor(table, np.array(weights), intercept, np.ones(table.shape[1]))


def test_linear_gains_and_routing() -> None:
    inputs, hyper, expected = case("linear_gains_and_top_k")
    features = np.array(inputs["binary_features"], dtype=bool)
    linear = predictor(np.eye(4, dtype=np.int64), inputs["coef"], inputs["intercept"])
    gains = linear.gains(features)
    assert gains.tolist() == pytest.approx(expected["gains"], abs=1e-12)
    before: set[int] = set()
    for budget in hyper["budgets"]:
        chosen = route.route(gains, budget)
        assert chosen == expected["selected"][str(budget)]
        assert before <= set(chosen), "budgets are nested"
        before = set(chosen)
        score = linear.predict(route.feature_counts(features, chosen)[None])[0]
        assert score == pytest.approx(expected["predicted"][str(budget)])
        assert score == pytest.approx(linear.intercept + gains[chosen].sum()), "linear gains add up"
    assert route.worth_routing(gains) == expected["optimal_pos"]
    assert route.worth_routing(gains, 1e-4) == expected["optimal_grad_eps_1e4"]
    assert route.route(gains, 0) == []
    assert route.route(gains, 1) == list(range(len(gains)))


def test_quadratic_gains_do_not_add_up() -> None:
    inputs, _, expected = case("quadratic_gains")
    features = np.array(inputs["binary_features"], dtype=bool)
    # The constant term belongs to the intercept.
    constant = inputs["term_coef"][0]
    quadratic = predictor(inputs["term_powers"][1:], inputs["term_coef"][1:], inputs["intercept"] + constant)
    gains = quadratic.gains(features)
    assert gains.tolist() == pytest.approx(expected["gain_from_empty"], abs=1e-12)
    five = quadratic.predict(route.feature_counts(features, range(5))[None])[0]
    assert five == pytest.approx(expected["predicted_mix_first_five"])
    six = quadratic.predict(route.feature_counts(features, range(6))[None])[0]
    assert six - five == pytest.approx(expected["true_marginal_of_item_5_given_first_five"])
    assert abs(gains[:5].sum() - (five - quadratic.intercept)) > 1e-3


def test_fitted_predictors() -> None:
    inputs, _, expected = case("fit_performance_predictors")
    counts, scores = np.array(inputs["feature_counts"]), np.array(inputs["scores"])
    linear = route.fit_predictor(counts[:48], scores[:48], 1)
    assert (linear.weights / linear.scale).tolist() == pytest.approx(expected["linear_coef"], rel=1e-6)
    assert linear.intercept == pytest.approx(expected["linear_intercept"])
    found = route.prediction_scores(linear.predict(counts[48:]), scores[48:])
    assert found["rmse"] == pytest.approx(expected["linear_rmse"])
    assert found["spearman"] == pytest.approx(expected["linear_spearman"])
    quadratic = route.fit_predictor(counts[:48], scores[:48], 2).predict(counts[48:])
    assert quadratic.tolist() == pytest.approx(expected["quadratic_predictions"], rel=1e-6)


def test_bins_ranks_and_labels() -> None:
    inputs, _, expected = case("feature_bins")
    ranks = route.percentiles(inputs["lengths"])
    assert ranks.tolist() == pytest.approx(expected["length_percentile"])
    # One rule for both edges: a value on an edge is in one bin, where the source counts it in two.
    found = route.binned(inputs["similarity"], (0.33, 0.67)).astype(int)
    assert (found.sum(axis=1) == 1).all()
    assert found[1:].tolist() == expected["similarity_bins"][1:]
    assert found[0].tolist() == [0, 1, 0]
    inputs, _, expected = case("label_choice")
    routed = [index for index, yes in enumerate(inputs["routed_to_human"]) if yes]
    labels, kept = route.chosen_labels(inputs["pref_human"], inputs["pref_ai"], routed)
    assert labels == expected["labels"]
    assert kept == expected["kept"]
    assert len(set(routed) & set(kept)) / len(kept) == pytest.approx(expected["human_share_kept"])


def planted(count: int, seed: int, tagged: float = 0.4) -> list[Comparison]:
    """People are right; the model is wrong wherever the tag `hard` stands."""
    generator = np.random.default_rng(seed)
    records = []
    for index in range(count):
        good = "good helpful " * int(generator.integers(1, 4)) + f"item{index}"
        bad = "bad useless " * int(generator.integers(1, 4)) + f"item{index}"
        hard = generator.random() < tagged
        if hard:
            good, bad = good.replace("good", "tricky"), bad.replace("bad", "crude")
        wrong = hard
        records.append(
            Comparison(
                f"question {index} " + "word " * int(generator.integers(0, 5)),
                [
                    Candidate(good, score=1.0, scores={"human": 1.0, "machine": float(not wrong)}),
                    Candidate(bad, score=0.0, scores={"human": 0.0, "machine": float(wrong)}),
                ],
                meta={"tags": ["hard"] if hard else ["easy"], "row": index, "seed": seed},
            )
        )
    return records


def test_what_the_model_gets_wrong_goes_to_people() -> None:
    data, test = planted(240, 0), planted(120, 1)
    job = RoutingJob(budget=0.25, mixes=40, features={"encoder": "hashed_ngrams", "size": 16})
    found = route_labels(data, test, job)
    routed = [row for row in found.comparisons if row.meta["routed"] == "people"]
    assert len(routed) == 60
    assert sum("hard" in row.meta["tags"] for row in routed) >= 57
    assert found.measured["routed"] > found.measured["model only"]
    assert "tag: hard" in list(found.features)[:3]
    assert found.features["tag: hard"] > 2 * found.features["tag: easy"]
    assert found.to_judge == 0
    again = route_labels(data, test, job)
    assert again.gains == found.gains


def test_labels_that_are_missing_are_wanted_or_refused() -> None:
    data = planted(60, 0)
    unlabelled = [
        Comparison(c.prompt, [Candidate(x.completion, scores={"machine": x.scores["machine"]}) for x in c.candidates])
        for c in planted(20, 2)
    ]
    job = RoutingJob(budget=1.0, mixes=12, features={"size": 8})
    found = route_labels([*data, *unlabelled], planted(20, 3), job)
    waiting = [row for row in found.comparisons if row.meta.get("label_wanted")]
    assert len(waiting) == found.to_judge == 20
    assert all(candidate.score is None for row in waiting for candidate in row.candidates)
    with pytest.raises(InputError, match="model's verdict"):
        route_labels(data, planted(20, 3), RoutingJob(machine="nobody"))
    with pytest.raises(InputError, match="test comparisons"):
        route_labels(data, [], job)
    with pytest.raises(InputError, match="among the data"):
        route_labels(data, data[:3], job)
    with pytest.raises(InputError, match="two answers"):
        route_features([Comparison("p", [Candidate("a")])])
