"""Factor profiles and the dissection of preferences, against recorded values and planted truths."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from assent.errors import InputError
from assent.evaluation.dissection import (
    held_out_accuracy,
    judge_similarity,
    label_of_two_orders,
    length_feature,
    property_mode,
    property_weights,
    rating_feature,
)
from assent.evaluation.factor_profile import (
    align_profiles,
    fact_factors,
    factor_correlation,
    factor_score,
    generation_score,
    score_interval,
    text_factors,
)

FOLDER = Path(__file__).parents[1] / "fixtures"
PROFILE, DISSECTION = (
    {case["name"]: case for case in json.loads((FOLDER / f"{slug}.json").read_text())["cases"]}
    for slug in ("profile", "dissection")
)


def test_factor_scores_and_alignment_equal_the_recorded_values() -> None:
    case = PROFILE["factor_scores_and_alignment"]
    inputs, expected = case["inputs"], case["expected"]
    profiles = {}
    for agent in ("human", "model"):
        preference = np.array(inputs[f"{agent}_preference"], dtype=float)
        profiles[agent] = {
            name: factor_score(np.array(values, dtype=float), preference).tau14
            for name, values in inputs["manifestation"].items()
        }
        recorded = [expected[agent][name]["tau14"] for name in profiles[agent]]
        assert list(profiles[agent].values()) == pytest.approx(recorded)
    seen = align_profiles(profiles["human"], profiles["model"])
    alignment = expected["factor_alignment"]
    assert [seen.pearson, seen.spearman, seen.kendall] == pytest.approx(list(alignment.values()))


def test_generation_scores_come_from_pairs_inside_a_prompt() -> None:
    case = PROFILE["generation_profile_from_target_scores"]
    seen = generation_score(case["inputs"]["target_scores"], [np.array(r) for r in case["inputs"]["factor_values"]])
    assert seen.tau14 == pytest.approx(case["expected"]["tau14"])
    assert (seen.concordant, seen.discordant) == (case["expected"]["concordant"], case["expected"]["discordant"])


def test_the_three_conventions_for_ties() -> None:
    case = PROFILE["tau_variants"]
    seen = factor_score(np.array(case["inputs"]["manifestation"]), np.array(case["inputs"]["preference"]))
    assert (seen.tau14, seen.tau10, seen.tau13) == tuple(
        case["expected"][name] for name in ("tau14", "tau10", "tau13")
    )
    assert factor_score(np.array([1, -1, 0]), np.array([0, 0, 0])).tau14 is None


def test_exchanging_the_answers_changes_no_score() -> None:
    generator = np.random.default_rng(0)
    manifested, preference = generator.integers(-1, 2, (2, 200))
    assert factor_score(-manifested, -preference) == factor_score(manifested, preference)


def test_rule_based_and_atomic_fact_factors() -> None:
    case = PROFILE["rule_based_factors"]
    seen = text_factors(case["inputs"]["response_tokens"], case["inputs"]["source_tokens"])
    assert list(seen.values()) == pytest.approx(list(case["expected"].values()))
    case = PROFILE["atomic_fact_factors"]
    seen = fact_factors(case["inputs"]["response_facts_supported"], case["inputs"]["source_facts_mentioned"])
    assert list(seen.values()) == pytest.approx(list(case["expected"].values()))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_factor_weights_are_found_in_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    planted = np.array([1.2, 0.8, 0.5, 0.25, 0, -0.25, -0.6, -1])
    gaps = generator.normal(size=(1000, 8))
    preference = np.sign(gaps @ planted + generator.logistic(size=1000))
    scores = [factor_score(np.sign(gaps[:, i]), preference).tau14 for i in range(8)]
    assert stats.spearmanr(scores, planted).statistic > 0.9
    low, high = score_interval(np.sign(gaps[:, 0]), preference, [str(i) for i in range(1000)], rounds=200)
    assert 0 < low < scores[0] < high


def test_correlated_factors_are_shown() -> None:
    generator = np.random.default_rng(0)
    active = generator.normal(size=2000)
    shadow = 0.9 * active + np.sqrt(1 - 0.81) * generator.normal(size=2000)
    assert factor_correlation({"active": active, "shadow": shadow})[("active", "shadow")] > 0.85


def test_a_constant_profile_has_no_correlation() -> None:
    assert align_profiles({"a": 0.1, "b": 0.1}, {"a": 0.1, "b": 0.3}).pearson is None


def test_length_and_rating_features_equal_the_recorded_values() -> None:
    case = DISSECTION["length_feature"]
    pairs = zip(case["inputs"]["words_1"], case["inputs"]["words_2"], strict=True)
    signs, sizes = zip(*(length_feature(a, b) for a, b in pairs), strict=True)
    assert list(signs) == case["expected"]["comparison"]
    assert list(sizes) == pytest.approx(case["expected"]["norm_diff"], abs=1e-12)
    case = DISSECTION["rating_features"]
    sign, share = rating_feature(np.array(case["inputs"]["ratings_1"]), np.array(case["inputs"]["ratings_2"]))
    assert sign.tolist() == case["expected"]["comparison"]
    assert share == pytest.approx(case["expected"]["norm_diff"])
    case = DISSECTION["error_features"]
    for name, expected in case["expected"].items():
        severity = name.split("_")[1]
        counts = (np.array([case["inputs"][key][severity]], float) for key in ("errors_2", "errors_1"))
        sign, share = rating_feature(*counts, threshold=5)
        assert (sign[0], share[0]) == (expected["comparison"], expected["norm_diff"])


def test_posterior_mean_equals_quadrature_and_mode_the_recorded_optimum() -> None:
    case = DISSECTION["laplace_logistic_2d"]
    features, labels = np.array(case["inputs"]["features"], float), np.array(case["inputs"]["labels"], float)
    expected = case["expected"]
    assert property_weights(features, labels).mean == pytest.approx(expected["posterior_mean"], abs=0.008)
    assert property_mode(features, labels) == pytest.approx(expected["map"], abs=1e-5)
    case = DISSECTION["laplace_logistic_8d_map"]
    features, labels = np.array(case["inputs"]["features"], float), np.array(case["inputs"]["labels"], float)
    assert property_mode(features, labels) == pytest.approx(case["expected"]["map"], abs=1e-5)


def test_exchanging_the_sides_leaves_the_weights() -> None:
    generator = np.random.default_rng(0)
    features = generator.integers(-1, 2, (300, 5)).astype(float)
    labels = (generator.random(300) < 0.5).astype(float)
    assert property_mode(-features, 1 - labels) == pytest.approx(property_mode(features, labels), abs=1e-6)
    assert property_mode(features, labels, scale=1e-6) == pytest.approx(np.zeros(5), abs=1e-6)


def test_planted_weights_of_29_properties_are_recovered() -> None:
    generator = np.random.default_rng(0)
    planted = generator.laplace(0, 0.25, 29)
    features = generator.choice([-1.0, 0.0, 0.0, 1.0], (2000, 29))
    labels = (generator.random(2000) < 1 / (1 + np.exp(-features @ planted))).astype(float)
    assert np.corrcoef(property_mode(features, labels), planted)[0, 1] > 0.96
    assert held_out_accuracy(features, labels, folds=5) > 0.6


def test_judge_similarity_and_labels_equal_the_recorded_values() -> None:
    case = DISSECTION["judge_similarity"]
    mine, theirs = case["inputs"]["judge_1"], case["inputs"]["judge_2"]
    assert judge_similarity(mine, theirs) == pytest.approx(case["expected"]["pearson_mean"])
    assert judge_similarity(mine, theirs, rank=True) == pytest.approx(case["expected"]["spearman_mean"])
    case = DISSECTION["preference_label_from_two_orders"]
    rows = zip(*case["inputs"].values(), strict=True)
    assert [label_of_two_orders(*row) for row in rows] == case["expected"]["label"]


def test_a_judge_with_one_side_only_is_an_error() -> None:
    with pytest.raises(InputError, match="same side"):
        property_mode(np.ones((4, 2)), np.ones(4))
