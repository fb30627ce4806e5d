"""Numbers that were derived independently, in float64."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from assent.comparison import Candidate, Comparison
from assent.preference_models import (
    GPM,
    MORE,
    PAL,
    BradleyTerry,
    Embedded,
    MultiAttribute,
    RelevanceReward,
    gpm,
    losses,
    more,
    multi_attribute,
    pairwise,
    pal,
    process,
    rrr,
)
from assent.preference_models import context_aware as context
from assent.preference_models import ensemble as ensembles
from assent.preference_models.min_norm import min_norm_weights
from assent.preference_models.verdicts import verdicts_of

FIXTURES = Path(__file__).parents[1] / "fixtures"


def case(slug: str, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    for one in json.loads((FIXTURES / f"{slug}.json").read_text())["cases"]:
        if one["name"] == name:
            return one["inputs"], one.get("hyper", {}), one["expected"]
    raise KeyError(name)


def t(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(found: Tensor, expected: Any, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found.detach().double(), t(expected), rtol=tolerance, atol=tolerance)


def pairs(count: int, gaps: list[float] | None = None, annotators: list[str] | None = None) -> Any:
    return verdicts_of(
        [
            Comparison(
                f"prompt {row}",
                [Candidate("a", score=gaps[row] if gaps else 1.0), Candidate("b", score=0.0)],
                annotator=annotators[row] if annotators else None,
            )
            for row in range(count)
        ]
    )


def embedded(values: Tensor) -> Embedded:
    return Embedded(values, values, None, torch.ones(values.shape[:2], dtype=torch.bool))


def rewards(inputs: dict[str, Any]) -> Tensor:
    return torch.stack([t(inputs["chosen_scores"]), t(inputs["rejected_scores"])], dim=1).requires_grad_()


@pytest.mark.parametrize("name", ["bt", "bt_margin", "bt_center", "bt_margin_center", "bt_extreme_margins"])
def test_bradley_terry(name: str) -> None:
    inputs, hyper, expected = case("reward-models", name)
    scores = rewards(inputs)
    gaps = inputs.get("margin")
    coefficient = hyper["center_rewards_coefficient"]
    model = BradleyTerry(1, margin=1.0 if gaps else 0.0, center_rewards_coefficient=coefficient)
    loss = model.loss(embedded(scores.unsqueeze(-1)), pairs(len(scores), gaps))
    loss.mean().backward()
    # Marks of records are kept in float32, so a margin read from them is right to 1e-7.
    close(loss.mean(), expected["loss"], 1e-6 if gaps else 1e-9)
    close(scores.grad[:, 0], expected["grad_wrt_chosen_scores"], 1e-6 if gaps else 1e-9)  # type: ignore[index]


def test_lists_as_pairs_and_as_plackett_luce() -> None:
    inputs, _, expected = case("reward-models", "listwise_from_a_ranking")
    scores = t(inputs["scores_in_rank_order"])[None]
    judged = verdicts_of([Comparison("p", [Candidate(str(i), score=float(-i)) for i in range(4)])])
    close(BradleyTerry(1).loss(embedded(scores.unsqueeze(-1)), judged)[0], expected["all_pairs_mean"])
    ranking = BradleyTerry(1, lists="plackett_luce")
    close(ranking.loss(embedded(scores.unsqueeze(-1)), judged)[0], expected["plackett_luce_nll"])


def test_soft_labels() -> None:
    inputs, _, expected = case("reward-models", "bt_soft_labels")
    scores = rewards(inputs)
    judged = verdicts_of(
        [
            Comparison("p", [Candidate("a", score=1.0), Candidate("b", score=0.0)], confidence=p)
            for p in inputs["target_prob"]
        ]
    )
    loss = BradleyTerry(1, verdicts="confidence").loss(embedded(scores.unsqueeze(-1)), judged)
    close(loss, expected["per_example"], 1e-6)
    optimum = t(expected["optimal_margin"]).requires_grad_()
    stationary = losses.logistic(optimum, 1 - t(inputs["target_prob"])).sum()  # type: ignore[arg-type]
    assert torch.autograd.grad(stationary, optimum)[0].abs().max() < 1e-12


def test_both_orders_of_a_generative_comparator() -> None:
    inputs, _, expected = case("reward-models", "pairwise_model_position_swap")
    first, second = t(inputs["logits_A_B_first_in_slot_A"]), t(inputs["logits_A_B_first_in_slot_B"])
    close(pairwise.order_averaged(first, second), expected["prob_first_wins"])
    assert pairwise.order_consistent(first, second).tolist() == expected["position_consistent"]


@pytest.mark.parametrize("how", ["min", "prod", "last", "mean", "sum_log_odds"])
def test_steps_to_answers(how: str) -> None:
    inputs, _, expected = case("reward-models", "prm_aggregation")
    rows = inputs["step_probs"]
    width = max(map(len, rows))
    odds = t([[*row, *[0.5] * (width - len(row))] for row in rows]).logit()
    mask = torch.tensor([[column < len(row) for column in range(width)] for row in rows])
    rule: Any = "product" if how == "prod" else how
    close(process.aggregate_steps(odds, mask, rule), expected[how])


@pytest.mark.parametrize("last_only", [False, True])
def test_labels_of_a_separator_row(last_only: bool) -> None:
    inputs, _, expected = case("reward-models", "prm_token_labels")
    found = process.separator_labels(
        inputs["prompt_len"] + inputs["bos"],
        inputs["step_token_counts_without_separator"],
        inputs["step_labels"],
        last_only,
    )
    assert found == expected["labels_last_step_only" if last_only else "labels"]


def test_attributes_weighed_and_gated() -> None:
    inputs, hyper, expected = case("reward-models", "multi_attribute_heads")
    attributes = t(inputs["attribute_rewards"])
    close(attributes @ t(inputs["weights"]), expected["linear_score"])
    gate = multi_attribute.gate_weights(t(inputs["gate_logits"]), hyper["temperature"], hyper["logit_scale"])
    close(gate, expected["gate"])
    index, penalties = inputs["verbosity_index"], inputs["verbosity_penalty"]
    adjusted = multi_attribute.without_attribute(attributes, index, penalties)
    close(adjusted, expected["adjusted_rewards"])
    close((gate * adjusted).sum(-1), expected["gated_score"])
    model = MultiAttribute(
        5, tuple("abcdv"), weights=tuple(inputs["weights"]), penalized="v", penalties=tuple(penalties)
    )
    values = torch.cat([attributes, t(inputs["weights"]).expand_as(attributes)], dim=-1).unsqueeze(0)
    close(model.reward(embedded(values))[0], (adjusted @ t(inputs["weights"])).tolist())


def test_attributes_with_missing_marks() -> None:
    inputs, _, expected = case("reward-models", "attribute_regression_with_missing")
    target = t([[float("nan") if v is None else v for v in row] for row in inputs["target"]])
    close(losses.present_squared_error(t(inputs["pred"]), target), expected["loss"])


def test_ensembles() -> None:
    inputs, _, expected = case("reward-models", "ensembles")
    chosen, rejected = t(inputs["chosen_scores"]), t(inputs["rejected_scores"])
    scaled = ensembles.standardized(torch.cat([chosen, rejected], dim=1))
    names: Any = {"mean": "mean", "worst": "worst", "pessimistic": "uncertainty"}
    for rule, name in names.items():
        found = ensembles.combined(scaled, rule)
        close(found[:6], expected[f"{name}_chosen"])
        close(found[6:], expected[f"{name}_rejected"])
        close((found[:6] > found[6:]).double().mean(), expected[f"{name}_accuracy"])
    raw = torch.cat([chosen, rejected], dim=1).mean(dim=0)
    close((raw[:6] > raw[6:]).double().mean(), expected["raw_mean_accuracy"])


@pytest.mark.parametrize(
    "name",
    [
        "gpm_dim2_raw_tau1.0",
        "gpm_dim2_raw_tau0.1",
        "gpm_dim6_unit_norm_tau0.1",
        "gpm_dim6_raw_margin",
        "gpm_dim6_prompt_gate",
        "edge_huge_scores",
    ],
)
def test_gpm(name: str) -> None:
    inputs, hyper, expected = case("gpm", name)
    raw = torch.stack([t(inputs["chosen_embeddings"]), t(inputs["rejected_embeddings"])], dim=1).requires_grad_()
    vectors = torch.nn.functional.normalize(raw, dim=-1) if hyper["normalize"] else raw
    gated = "prompt_gate_logits" in inputs
    logits = t(inputs["prompt_gate_logits"]).requires_grad_() if gated else None
    if logits is not None:
        gate = logits.softmax(-1)
        close(gate, expected["gate"])
        vectors = torch.cat([vectors, gate.unsqueeze(1).expand(-1, 2, -1)], dim=-1)
    model = GPM(3, raw.shape[-1], hyper["tau"], hyper["normalize"], gated, margin=1.0 if "margin" in inputs else 0.0)
    preference = model.preference(embedded(vectors))
    close(preference[:, 0, 1] * hyper["tau"], expected["scores"])
    assert torch.equal(preference, -preference.transpose(1, 2))
    loss = model.loss(embedded(vectors), pairs(len(raw), inputs.get("margin")))
    close(loss, expected["per_example"], 1e-6 if "margin" in inputs else 1e-9)
    loss.mean().backward()
    if "grad_wrt_chosen_embeddings" in expected:
        close(raw.grad[:, 0], expected["grad_wrt_chosen_embeddings"], 1e-6)  # type: ignore[index]
    if "grad_wrt_rejected_embeddings" in expected:
        close(raw.grad[:, 1], expected["grad_wrt_rejected_embeddings"], 1e-6)  # type: ignore[index]
    if logits is not None:
        assert logits.grad is not None
        close(logits.grad, expected["grad_wrt_prompt_gate_logits"])


def test_a_cycle_on_the_circle() -> None:
    inputs, hyper, expected = case("gpm", "cycle_of_4_on_circle")
    scores = gpm.antisymmetric_scores(t(inputs["candidate_embeddings_unit"]))
    close(scores, expected["score_matrix"])
    edges = torch.stack([scores[i, (i + 1) % 4] for i in range(4)])
    close(softplus(-edges / hyper["tau"]).mean(), expected["loss_on_cycle"])
    close(gpm.rank_scores(scores), [0.0] * 4)
    close(gpm.rank_scores(scores.round(), "wins"), [1.5] * 4)
    close(gpm.rank_scores(scores, "max_min"), [-1.0] * 4)


@pytest.mark.parametrize("name", ["mean", "cumulative", "only_last"])
def test_pal_a(name: str) -> None:
    inputs, hyper, expected = case("pal", f"pal_a_distance_hinge_{name}")
    logits, points = t(inputs["user_logits"]).requires_grad_(), t(inputs["prototypes"]).requires_grad_()
    weights = logits.softmax(-1)
    close(weights, expected["user_weights"])
    ideal = weights @ points
    close(ideal, expected["ideal_points"])
    gap = pal.distances(t(inputs["left_token_embeddings"]), ideal[:, None])
    gap = gap - pal.distances(t(inputs["right_token_embeddings"]), ideal[:, None])
    close(gap, expected["score_diff_left_minus_right"])
    # label -1: left preferred, so the margin of the chosen over the rejected is label * gap.
    each = losses.hinge(t(inputs["labels"])[:, None] * gap, hyper["margin"])
    loss = losses.over_tokens(each, inputs["diverge_index"], inputs["end_index"], name)
    close(loss, expected["per_example"])
    loss.mean().backward()
    assert logits.grad is not None
    assert points.grad is not None
    close(logits.grad, expected["grad_wrt_user_logits"])
    close(points.grad, expected["grad_wrt_prototypes"])


@pytest.mark.parametrize("name", ["init", "clamped"])
def test_pal_b(name: str) -> None:
    inputs, _, expected = case("pal", f"pal_b_angle_ce_{name}")
    model = PAL(3, "b", prototypes=2, annotators=tuple("abcd"), projector_layers=0).double()
    with torch.no_grad():
        model.user_logits.copy_(t(inputs["user_logits"]))
        model.log_scale.copy_(t(inputs["logit_scale_log"]))
    prototypes = t(inputs["prompt_prototypes"]).requires_grad_()
    left, right = t(inputs["left_embeddings"]), t(inputs["right_embeddings"])
    preferred_left = (t(inputs["labels"]) < 0)[:, None]
    items = torch.stack([torch.where(preferred_left, left, right), torch.where(preferred_left, right, left)], dim=1)
    values = torch.cat([items, prototypes.flatten(1).unsqueeze(1).expand(-1, 2, -1)], dim=-1)
    loss = model.loss(embedded(values), pairs(4, annotators=list("abcd")))
    close(loss, expected["per_example"])
    loss.mean().backward()
    assert model.user_logits.grad is not None
    assert model.log_scale.grad is not None
    assert prototypes.grad is not None
    close(model.user_logits.grad, expected["grad_wrt_user_logits"])
    close(prototypes.grad, expected["grad_wrt_prompt_prototypes"])
    close(model.log_scale.grad, expected["grad_wrt_logit_scale_log"])


def test_pal_a_through_the_model_and_at_distance_zero() -> None:
    inputs, _, expected = case("pal", "edge_far_items_item_on_ideal_point")
    model = PAL(3, "a", prototypes=1, annotators=("a", "b"), projector_layers=0).double()
    with torch.no_grad():
        model.user_logits.copy_(t(inputs["user_logits"]))
        model.points.copy_(t(inputs["prototypes"]))
    items = torch.stack([t(inputs["left_embeddings"]), t(inputs["right_embeddings"])], dim=1).requires_grad_()
    loss = model.loss(embedded(items), pairs(2, annotators=["a", "b"]))
    close(loss, expected["per_example"])
    loss.mean().backward()
    assert items.grad is not None
    assert items.grad.isfinite().all()


def test_smooth_hinge_and_norm_bound() -> None:
    inputs, hyper, expected = case("pal", "smooth_hinge")
    gap = t(inputs["score_diff"]).requires_grad_()
    each = losses.smooth_hinge(t(inputs["labels"]) * gap, hyper["margin"], hyper["gamma"])
    close(each, expected["per_example"], 1e-6)
    each.mean().backward()
    assert gap.grad is not None
    close(gap.grad, expected["grad_wrt_score_diff"], 1e-6)
    inputs, hyper, expected = case("pal", "ideal_point_norm_bound")
    close(pal.norm_beyond(t(inputs["ideal_points"]), hyper["upper_bound"]), expected["loss"])


def test_more_lists_with_ties_and_padding() -> None:
    inputs, _, expected = case("more", "ranking_loss_lists_ties_padding")
    records = [
        Comparison(
            "p",
            [Candidate(str(i), score=score if score >= 0 else None) for i, score in enumerate(scores)],
            group="all",
            # The published loss is a mean over pairs, ours over lists: a list's weight is its number of pairs.
            weight=float(sum(a > b >= 0 for a in scores for b in scores)),
        )
        for scores in inputs["scores"]
    ]
    logits = t(inputs["logits"]).requires_grad_()
    model = MORE(1, ("all",), group_weights="uniform")
    loss = model.loss(embedded(logits.unsqueeze(-1)), verdicts_of(records))
    close(loss, expected["loss"])
    loss.backward()
    assert logits.grad is not None
    close(logits.grad, expected["grad_wrt_logits"])


def test_more_loss_of_given_rewards() -> None:
    inputs, _, expected = case("more", "more_weighted_loss")
    scores = torch.stack(
        [t(inputs["policy_scores_chosen"]), t(inputs["policy_scores_rejected"])], dim=1
    ).requires_grad_()
    each = losses.logistic(scores[:, 0] - scores[:, 1])
    close(each, expected["per_task"])
    loss = (t(inputs["weights"]) * each).sum()
    close(loss, expected["loss"])
    close(torch.autograd.grad(loss, scores)[0], expected["grad_wrt_scores"])


def test_more_weighted_loss_and_head_gradients() -> None:
    inputs, _, expected = case("more", "head_gradients_l2_normalised_to_weights")
    z = torch.stack([t(inputs["hidden_chosen"]), t(inputs["hidden_rejected"])], dim=1)
    reward = z @ t(inputs["reward_head"])
    names = ("g0", "g1", "g2")
    judged = verdicts_of(
        [Comparison("p", [Candidate("a", score=1.0), Candidate("b", score=0.0)], group=name) for name in names]
    )
    wins = losses.wins_of(judged)
    gradients = more.head_gradients(losses.differences(reward), z, wins)
    close(gradients, expected["head_gradients"])
    model = MORE(5, names, new_gradient=1.0).double()
    loss = model.loss(embedded(torch.cat([reward.unsqueeze(-1), z], dim=-1)), judged)
    close(model.last_weights, expected["weights_exact"], 1e-6)
    each = losses.logistic(reward[:, 0] - reward[:, 1])
    close(loss, (model.last_weights * each).sum().item(), 1e-9)
    unit = torch.nn.functional.normalize(gradients, dim=1)
    close((model.last_weights @ unit).square().sum(), expected["min_norm_squared"], 1e-6)


@pytest.mark.parametrize("name", ["min_norm_two_tasks", "min_norm_two_tasks_aligned_clip", "min_norm_four_tasks"])
def test_min_norm(name: str) -> None:
    inputs, _, expected = case("more", name)
    gradients = t(inputs["task_gradients"])
    weights = min_norm_weights(gradients)
    close(weights, expected.get("weights_closed_form") or expected["weights_exact"], 1e-6)
    point = weights @ gradients
    if "min_norm_squared" in expected:
        close(point.square().sum(), expected["min_norm_squared"], 1e-6)
    # Karush-Kuhn-Tucker: no gradient makes a smaller product with the point than the point itself.
    assert (gradients @ point >= point @ point - 1e-9).all()


def test_two_steps_and_their_bound() -> None:
    inputs, _, expected = case("context-aware", "two_step_preference_and_error_bound")
    true = torch.sigmoid(t(inputs["reward_a_true"]) - t(inputs["reward_b_true"]))
    model = torch.sigmoid(t(inputs["reward_a_model"]) - t(inputs["reward_b_model"]))
    pi, pi_model = t(inputs["context_probs_true"]), t(inputs["context_probs_model"])
    close(context.mixed_preference(pi, true), expected["pref_true"])
    close(context.mixed_preference(pi_model, model), expected["pref_model"])
    found = context.error_bound((pi, true), (pi_model, model))
    close(found["error"], expected["abs_error"])
    close(found["preference"], expected["context_pref_error_under_model_contexts"])
    close(found["contexts"], expected["context_total_variation"])
    close(found["bound"], expected["bound"])


@pytest.mark.parametrize("name", ["aggregate_over_contexts", "borda_and_expected_utility_disagree"])
def test_aggregation_over_contexts(name: str) -> None:
    inputs, _, expected = case("context-aware", name)
    scores, weights = t(inputs["scores"]), t(inputs["context_probs"])
    rules = {
        "expected": "expected_utility",
        "borda": "borda",
        "soft_borda": "soft_borda",
        "worst": "worst_context",
    }
    for rule, key in rules.items():
        if key in expected:
            close(context.aggregate(scores, weights, rule), expected[key])
    if "pairwise_majority" in expected:
        close(context.pairwise_majority(scores, weights), expected["pairwise_majority"])


def test_profile_posterior() -> None:
    inputs, _, expected = case("context-aware", "profile_posterior_from_pairs")
    posterior = context.context_posterior(t(inputs["margins_per_profile"]), t(inputs["labels"]))
    close(posterior, expected["posterior"])
    new = torch.sigmoid(t(inputs["new_margins_per_profile"]))
    close(context.mixed_preference(posterior, new), expected["new_pref_a"])


@pytest.mark.parametrize(
    "name",
    [
        "r3_full",
        "relevance_times_length",
        "length_only",
        "relevance_only_no_length",
        "no_branching_with_repetition",
    ],
)
def test_rrr(name: str) -> None:
    inputs, hyper, expected = case("rrr", name)
    reward = RelevanceReward(
        length=hyper["length_incentive"],
        repetition=hyper["repetition_penalty"],
        relevance=hyper["relevance"],
        branching=hyper["branching"],
        max_tokens=hyper["max_sequence_length"],
    )
    for index, text in enumerate(inputs["responses"]):
        parts = reward.parts(text, inputs["query_type"][index], inputs["relevance"][index])
        assert len(rrr.tokens_of(text)) == expected["n_tokens"][index]
        assert parts["length_incentive"] == pytest.approx(expected["length_incentive"][index])
        assert parts["repetition_penalty"] == pytest.approx(expected["repetition_penalty"][index])
        assert parts["reward"] == pytest.approx(expected["reward"][index], rel=1e-9)


def test_mean_pooled_relevance() -> None:
    inputs, _, expected = case("rrr", "mean_pool_dot_relevance")
    query = rrr.mean_pooled(t(inputs["query_token_embeddings"]), t(inputs["query_mask"]))
    answer = rrr.mean_pooled(t(inputs["response_token_embeddings"]), t(inputs["response_mask"]))
    close((query * answer).sum(-1), expected["relevance"])
