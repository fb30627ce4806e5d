"""Methods with a paper of their own: value and gradient in float64, against independently derived numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from assent.errors import InputError
from assent.likelihood import FIRST_STREAM, PROMPT, Likelihoods
from assent.objectives import Judged, build_objective
from assent.objectives.ranking import lambda_weights, list_labels, ranks
from assent.objectives.reliability import estimate_reliability, fit_scale
from tests.batches import NAN, judged, pairs

FIXTURES = Path(__file__).parents[1] / "fixtures"
Case = Mapping[str, Any]
Leaves = dict[str, Tensor]


def cases(slug: str, *names: str, prefix: str = "") -> list[Any]:
    """The cases of a fixture by name or prefix, as test parameters."""
    found = json.loads((FIXTURES / f"{slug}.json").read_text())["cases"]
    chosen = [c for c in found if c["name"] in names or (prefix and c["name"].startswith(prefix))]
    assert chosen, f"{slug} has no such case"
    return [pytest.param(case, id=f"{slug}-{case['name']}") for case in chosen]


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sums(inputs: Case, leaves: Leaves, *names: str) -> Tensor:
    """[B, K] of the named inputs; each becomes a leaf."""
    for name in names:
        leaves[name] = tensor(inputs[name]).requires_grad_()
    return torch.stack([leaves[name] for name in names], dim=1)


def check(case: Case, loss: Tensor, leaves: Leaves, tolerance: float = 1e-9) -> None:
    """Compares per-example losses, their mean and every gradient that the fixture knows."""
    expected = case["expected"]
    loss = loss.sum(dim=1) if loss.dim() == 2 else loss
    if "per_example" in expected and loss.dim() == 1:
        torch.testing.assert_close(loss.detach(), tensor(expected["per_example"]), rtol=tolerance, atol=tolerance)
    value = loss.mean()
    assert value.item() == pytest.approx(expected["loss"], rel=tolerance, abs=tolerance)
    value.backward()
    gradients = [key for key in expected if key.startswith("grad_wrt_")]
    assert gradients
    for key in gradients:
        leaf = leaves[key.removeprefix("grad_wrt_")]
        found = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        torch.testing.assert_close(
            found, tensor(expected[key]), rtol=max(tolerance, 1e-8), atol=max(tolerance, 1e-10)
        )


PAIRWISE = [
    *cases("robust-dpo", prefix="rdpo/"),
    *cases("ln-dpo", "random", "at_reference", "equal_lengths", "extreme", "length_one"),
    *cases("cxr-preference", prefix="lc_dpo"),
    *cases("cxr-preference", "ipo_token_averaged"),
]


@pytest.mark.parametrize("case", PAIRWISE)
def test_pairwise_losses(case: Case) -> None:
    hyper, leaves = dict(case["hyper"]), {}
    batch = pairs(case["inputs"], leaves)
    if "epsilon" in hyper:
        spec = {"robust_dpo": {"beta": hyper["beta"], "flip_rate": hyper["epsilon"]}}
    elif hyper.get("loss") == "lc_dpo":
        spec = {"length_dpo": {"beta": hyper["beta"], "alpha": hyper["alpha"]}}
    elif hyper.get("loss") == "ipo":
        spec = {"ipo": {"beta": hyper["beta"], "average": True}}
    else:
        spec = {"ln_dpo": {"beta": hyper["beta"]}}
    check(case, build_objective(spec)(batch), leaves)


@pytest.mark.parametrize("case", cases("robust-dpo", "unbiasedness"))
def test_robust_dpo_is_unbiased_over_flips(case: Case) -> None:
    batch = pairs(case["inputs"], {})
    rate = case["hyper"]["epsilon"]
    objective = build_objective({"robust_dpo": {"beta": case["hyper"]["beta"], "flip_rate": rate}})
    mixed = (1 - rate) * objective(batch) + rate * objective(batch.swapped())
    torch.testing.assert_close(mixed.detach(), tensor(case["expected"]["clean_dpo"]))
    torch.testing.assert_close(mixed, build_objective({"dpo": {"beta": case["hyper"]["beta"]}})(batch))


@pytest.mark.parametrize("case", cases("bco", prefix="unpaired/"))
def test_bco(case: Case) -> None:
    inputs, hyper, leaves = case["inputs"], case["hyper"], Leaves()
    extra = {}
    if "prob_desirable" in inputs:
        extra = {"density_ratio": [p / (1 - p + hyper["eps"]) for p in inputs["prob_desirable"]]}
    shift = {"class_balanced": "class_balanced", "batch_mean": "mean", "none": "none"}[hyper["delta_mode"]]
    for running in (True, False):  # the first step of training has seen nothing but itself
        batch = judged(
            sums(inputs, leaves, "policy_logps"),
            tensor(inputs["ref_logps"]).unsqueeze(1),
            labels=tensor(inputs["labels"]).unsqueeze(1),
            extra=extra,
        )
        options = {"beta": hyper["beta"], "shift": shift, "running": running}
        check(case, build_objective({"bco": options})(batch), leaves)


@pytest.mark.parametrize("case", cases("bco", "running_mean_three_batches"))
def test_bco_shift_runs_over_training_and_stands_still_in_evaluation(case: Case) -> None:
    objective = build_objective({"bco": {"beta": 0.1, "shift": "mean"}})
    for index, row in enumerate(case["inputs"]["batches"]):
        policy, reference = tensor(row["policy_logps"]).unsqueeze(1), tensor(row["ref_logps"]).unsqueeze(1)
        batch = judged(policy, reference, labels=tensor(row["labels"]).unsqueeze(1))
        loss = objective(batch)
        assert loss.mean().item() == pytest.approx(case["expected"]["loss"][index], rel=1e-9)
        objective.eval()  # type: ignore[attr-defined]
        delta = objective.delta(batch, batch.log_ratio)  # type: ignore[attr-defined]
        assert float(delta) == pytest.approx(case["expected"]["delta"][index], rel=1e-9)
        torch.testing.assert_close(objective(batch), loss)
        objective.train()  # type: ignore[attr-defined]
    again = build_objective({"bco": {"beta": 0.1, "shift": "mean"}})
    again.load_state_dict(objective.state_dict())  # type: ignore[attr-defined]
    torch.testing.assert_close(again.seen, objective.seen)  # type: ignore[attr-defined]


def listwise(inputs: Case, leaves: Leaves, scores: Sequence[Sequence[float]] | None = None) -> Judged:
    """Lists in column order; the leaf keeps the fixture's order."""
    given = tensor(inputs["policy_logps"] if scores is None else scores)
    values = torch.arange(given.shape[1], 0, -1).double().expand_as(given) if scores is None else given
    order = values.argsort(dim=1, descending=True, stable=True)
    leaves["policy_logps"] = tensor(inputs["policy_logps"]).requires_grad_()
    known = {name: tensor(inputs[name]).gather(1, order) for name in ("ref_logps", "lengths") if name in inputs}
    return judged(
        leaves["policy_logps"].gather(1, order),
        known.get("ref_logps"),
        lengths=known["lengths"].long() if "lengths" in known else None,
        scores=values.gather(1, order),
    )


@pytest.mark.parametrize(
    "case",
    cases("lipo", prefix="lambda/")
    + cases("lipo", prefix="pair")
    + cases("lipo", "list_mle/random")
    + cases("lipo", prefix="softmax")
    + cases("lipo", prefix="point"),
)
def test_lipo(case: Case) -> None:
    leaves = Leaves()
    batch = listwise(case["inputs"], leaves, case["inputs"]["labels"])
    style = "rax" if case["name"].endswith("rax_style") else "paper"
    options = {"loss": case["hyper"]["loss"], "beta": case["hyper"]["beta"], "style": style}
    check(case, build_objective({"lipo": options})(batch), leaves)
    if "lambda_weights" in case["expected"]:
        order = tensor(case["inputs"]["labels"]).argsort(dim=1, descending=True, stable=True)
        found = ranks(batch.log_ratio, batch.judged)
        torch.testing.assert_close(found, torch.tensor(case["expected"]["ranks"]).gather(1, order))
        weights = lambda_weights(batch.scores, 0.05 * batch.log_ratio.detach(), batch.judged)
        expected = tensor(case["expected"]["lambda_weights"])
        expected = expected.gather(1, order.unsqueeze(2).expand_as(expected))
        expected = expected.gather(2, order.unsqueeze(1).expand_as(expected))
        # The fixture keeps the weights of ordered pairs only.
        torch.testing.assert_close(torch.where(expected != 0, weights, torch.zeros_like(weights)), expected)


def test_ranks_become_labels_by_wins() -> None:
    batch = judged(torch.zeros(1, 3, dtype=torch.float64), scores=tensor([[30.0, 7.0, 7.0]]))
    torch.testing.assert_close(list_labels(batch, "wins"), tensor([[2.5 / 3, 1 / 3, 1 / 3]]))


@pytest.mark.parametrize("case", cases("pro-ranking", prefix="pro/"))
def test_pro_ranking(case: Case) -> None:
    leaves = Leaves()
    batch = listwise(case["inputs"], leaves, case["inputs"].get("rewards"))
    hyper = case["hyper"]
    objective = build_objective(
        {"pro_ranking": {"sft_weight": hyper["sft_weight"], "temperatures": hyper.get("temperature", True)}}
    )
    # The fixture adds 1e-10 inside the logarithm where its `eps` says so.
    check(case, objective(batch), leaves, tolerance=1e-5 if hyper.get("eps") else 1e-7)


@pytest.mark.parametrize("case", cases("knowpat", prefix="paper/") + cases("knowpat", "code/random"))
def test_knowpat(case: Case) -> None:
    leaves = Leaves()
    batch = listwise(case["inputs"], leaves, case["inputs"]["scores"])
    options = {"align_weight": case["hyper"]["lam"], "average_worse": case["hyper"]["variant"] == "code"}
    check(case, build_objective({"knowpat": options})(batch), leaves)


@pytest.mark.parametrize("case", cases("osp", prefix="spce/"))
def test_osp(case: Case) -> None:
    leaves = Leaves()
    batch = pairs(case["inputs"], leaves, confidence=tensor(case["inputs"]["preference_strength"]))
    check(case, build_objective({"osp": {"beta": case["hyper"]["beta"], "certainty": 1.0}})(batch), leaves)


@pytest.mark.parametrize("case", cases("selfie", prefix="refine_"))
def test_selfie(case: Case) -> None:
    leaves, hyper, inputs = Leaves(), case["hyper"], case["inputs"]
    batch = pairs(inputs, leaves)
    detected = Likelihoods.from_sums(tensor([inputs["detect_chosen_logps"], inputs["detect_rejected_logps"]]).T)
    policy = Likelihoods(
        batch.policy.tokens,
        batch.policy.owner,
        batch.policy.shape,
        batch.mask,
        statistics={"extrapolated:0.5": detected.tokens},
    )
    batch = judged(policy, batch.reference, progress=hyper["global_step"] / hyper["max_steps"])
    objective: Any = build_objective({"selfie": {"beta": hyper["beta"], "smoothing": hyper["alpha"]}})
    margin = objective.detection_margin(batch)
    torch.testing.assert_close(margin, tensor(case["expected"]["detect_margin"]))
    doubted = margin <= hyper["tau_margin"]
    assert doubted.tolist() == case["expected"]["noisy_flag"]
    check(case, objective.loss(batch, doubted & (batch.progress > objective.warmup)), leaves)


def test_selfie_flags_the_asked_share_after_its_warmup() -> None:
    objective: Any = build_objective({"selfie": {"flagged": 0.25, "extrapolation": 0.0, "smoothing": 0.1}})
    policy = torch.stack([torch.linspace(-1, 3, 40), torch.zeros(40)], dim=1).double() - 5
    plain = build_objective("dpo")
    for progress, share in ((0.1, 0.0), (0.5, 0.25)):
        batch = judged(policy, torch.full_like(policy, -5), progress=progress)
        changed = (objective(batch) - plain(batch)).abs() > 1e-12
        assert float(changed.double().mean()) == pytest.approx(share, abs=0.03)
        assert bool(changed[:10].all()) == bool(share), "the least certain pairs are doubted"


@pytest.mark.parametrize(
    "case",
    cases(
        "dove", "different_instructions", "same_instruction_equals_dpo", "same_response_prompt_only_margin", "extreme"
    ),
)
def test_dove(case: Case) -> None:
    leaves, inputs = Leaves(), case["inputs"]
    parts = ("prompt", "response")
    policy = torch.cat(
        [sums(inputs, leaves, *(f"policy_{side}_{part}_logps" for part in parts)) for side in ("chosen", "rejected")],
        dim=1,
    )
    reference = torch.stack(
        [tensor(inputs[f"ref_{side}_{part}_logps"]) for side in ("chosen", "rejected") for part in parts], dim=1
    )
    batch = judged(joint(policy), joint(reference))
    check(case, build_objective({"dove": {"beta": case["hyper"]["beta"]}})(batch), leaves)
    if "conditional_dpo" in case["expected"]:
        dpo = build_objective({"dpo": {"beta": case["hyper"]["beta"]}})(batch)
        torch.testing.assert_close(dpo.detach(), tensor(case["expected"]["conditional_dpo"]))


def joint(values: Tensor) -> Likelihoods:
    """Two candidates of one prompt position and one completion position each, from [B, 4]."""
    size = len(values)
    owner = torch.arange(2 * size).repeat_interleave(2)
    segment = torch.tensor([PROMPT, 0, PROMPT, 0]).repeat(size)
    return Likelihoods(values.flatten(), owner, (size, 2), torch.ones(size, 2, dtype=torch.bool), segment)


@pytest.mark.parametrize("case", cases("mapl", "dpo_losses"))
def test_mapl(case: Case) -> None:
    leaves, inputs, expected = Leaves(), case["inputs"], case["expected"]
    objective = build_objective({"mapl": {"beta": case["hyper"]["beta"]}})

    def policy(*names: str) -> Tensor:
        return torch.stack([leaves.setdefault(f"policy_{n}", leaf(inputs[f"policy_{n}"])) for n in names], dim=1)

    def reference(*names: str) -> Tensor:
        return torch.stack([tensor(inputs[f"ref_{n}"]) for n in names], dim=1)

    two, prompts = ("chosen_logps", "rejected_logps"), ("better_prompt_logps", "worse_prompt_logps")
    widened = ("widened_chosen_logps", "widened_rejected_logps", *two)
    size = len(inputs["policy_chosen_logps"])
    levels = [
        objective(judged(policy(*two), reference(*two))),
        objective(judged(policy(*prompts), reference(*prompts), group=("intra",) * size)),
        objective(
            judged(policy(*widened), reference(*widened), roles=[[None, None, "base_prompt", "base_prompt"]] * size)
        ),
    ]
    for index, name in enumerate(("dpo", "intra", "inter")):
        torch.testing.assert_close(levels[index][:, index].detach(), tensor(expected[name]))
        assert int((levels[index] != 0).any(dim=0).sum()) == 1
    check(case, sum(level.sum(dim=1) for level in levels), leaves)  # type: ignore[arg-type]


def leaf(values: Any) -> Tensor:
    return tensor(values).requires_grad_()


LCPO = cases("lcpo", prefix="dpo/") + cases("lcpo", prefix="ipo/") + cases("lcpo", prefix="simpo/")
LCPO += cases("lcpo", prefix="cpo/")


@pytest.mark.parametrize("case", LCPO)
def test_lcpo(case: Case) -> None:
    leaves, hyper, inputs, expected = Leaves(), case["hyper"], case["inputs"], case["expected"]
    base: dict[str, Any] = {hyper["base"]: {"beta": hyper["beta"]}}
    if hyper["base"] == "simpo":
        base["simpo"]["gamma"] = hyper["gamma"]
    if hyper["base"] == "cpo":
        base["cpo"]["normalise"] = "none"
    if hyper["base"] == "ipo":
        base["ipo"]["average"] = False
    names = tuple(str(int(name)) for name in inputs["annotator"])
    batch = pairs(inputs, leaves, annotator=names, ids=tuple(f"pair {i}" for i in range(len(names))))
    objective: Any = build_objective({"lcpo": {"base": base, "momentum": hyper["alpha"], "mode": hyper["mode"]}})
    objective.reliabilities = {str(i): eta for i, eta in enumerate(inputs["eta"])}
    check(case, objective(batch), leaves)
    assert list(objective.confidences.values()) == pytest.approx(expected["confidence"], rel=1e-8)
    assert [objective.reliabilities[str(i)] for i in range(len(inputs["eta"]))] == pytest.approx(expected["eta_next"])
    worst = min(expected["confidence"])
    assert objective.suspicious(1)[0][1] == pytest.approx(worst)
    restored: Any = build_objective({"lcpo": {"base": base}})
    restored.load_state_dict(objective.state_dict())
    assert restored.reliabilities == objective.reliabilities
    assert restored.suspicious() == objective.suspicious()
    before = dict(objective.reliabilities)
    objective.eval()(batch)
    assert objective.reliabilities == before, "evaluation reads the state and leaves it"


@pytest.mark.parametrize("case", cases("lcpo", "reliability_fixed_point"))
def test_reliability_by_em(case: Case) -> None:
    log_odds = tensor(case["inputs"]["p_clean"]).logit()
    steps, expected = case["expected"]["at_iterations"], case["expected"]["eta_trajectory"]
    for count, eta in list(zip(steps, expected, strict=True))[1:]:
        audit = estimate_reliability(log_odds, iterations=count, tolerance=0.0)
        assert audit.reliability[""] == pytest.approx(eta, rel=1e-9)
    assert all(b >= a - 1e-9 for a, b in zip(audit.log_likelihood, audit.log_likelihood[1:], strict=False))


def test_an_audit_finds_the_careless_annotator_and_the_flipped_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = 4 * torch.randn(4000, generator=generator, dtype=torch.float64).abs()
    flip_rate = torch.where(torch.arange(4000) % 2 == 0, 0.05, 0.35)
    # The order shown is the clean one by chance p, and is then flipped by chance.
    clean = torch.rand(4000, generator=generator, dtype=torch.float64) < truth.sigmoid()
    flipped = torch.rand(4000, generator=generator, dtype=torch.float64) < flip_rate
    log_odds = torch.where(clean != flipped, truth, -truth)
    audit = estimate_reliability(log_odds, ["careful" if i % 2 == 0 else "careless" for i in range(4000)])
    assert audit.reliability["careful"] == pytest.approx(0.95, abs=0.03)
    assert audit.reliability["careless"] == pytest.approx(0.65, abs=0.03)
    assert audit.noise_rate == pytest.approx(0.2, abs=0.03)
    assert bool(flipped[audit.suspicious(100)].double().mean() > 0.9)
    assert audit.counts == {"careful": 2000, "careless": 2000}


@pytest.mark.parametrize("case", cases("modpo-soups", prefix="modpo_"))
def test_modpo(case: Case) -> None:
    leaves, inputs = Leaves(), case["inputs"]
    weights = inputs["weights"]
    chosen, rejected = tensor(inputs["margin_rewards_chosen"]), tensor(inputs["margin_rewards_rejected"])
    names = [f"r{index}" for index in range(chosen.shape[1])]
    dimensions = {name: torch.stack([chosen[:, i], rejected[:, i]], dim=1) for i, name in enumerate(names)}
    options = {
        "beta": case["hyper"]["beta"],
        "weight_of_pairs": weights[0],
        "margin_weights": dict(zip(names, weights[1:], strict=True)),
        "link": "hinge" if case["hyper"]["loss_type"] == "hinge" else "logistic",
    }
    check(case, build_objective({"modpo": options})(pairs(inputs, leaves, dimensions=dimensions)), leaves)


@pytest.mark.parametrize("case", cases("modpo-soups", "sequential_dpo_round_two"))
def test_sequential_po(case: Case) -> None:
    leaves, inputs, beta = Leaves(), case["inputs"], case["hyper"]["beta"]
    policy = sums(inputs, leaves, "policy_chosen_logps", "policy_rejected_logps")
    previous = torch.stack([tensor(inputs["prev_chosen_logps"]), tensor(inputs["prev_rejected_logps"])], dim=1)
    older = torch.stack([tensor(inputs["ref_chosen_logps"]), tensor(inputs["ref_rejected_logps"])], dim=1)
    batch = judged(policy, previous, dimensions={"previous": beta * (previous - older)})
    options = {"beta": beta, "previous_weight": case["hyper"]["lambda_prev"]}
    check(case, build_objective({"sequential_po": options})(batch), leaves)


@pytest.mark.parametrize("case", cases("gpm", "gpo_from_candidate_table"))
def test_gpm(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    policy = leaf(inputs["policy_logps"])
    scores, reference = tensor([expected["mean_score_vs_policy"]]), tensor(inputs["ref_logps"])
    order = scores.argsort(dim=1, descending=True)
    objective = build_objective({"gpm": {"beta": case["hyper"]["beta"]}})
    every = judged(policy.gather(1, order), reference.gather(1, order), scores=scores.gather(1, order))
    assert objective(every).item() == pytest.approx(expected["gpo_loss_all_candidates"], rel=1e-9)
    ends = order[:, [0, -1]]
    loss = objective(judged(policy.gather(1, ends), reference.gather(1, ends), scores=scores.gather(1, ends)))
    assert loss.item() == pytest.approx(expected["gpo_loss_best_worst"], rel=1e-9)
    (gradient,) = torch.autograd.grad(loss.sum(), policy)
    torch.testing.assert_close(gradient, tensor(expected["grad_gpo_best_worst_wrt_policy_logps"]))


@pytest.mark.parametrize("case", cases("raco", "signed_dpo_losses_and_weighted_sum", "amopo_static_baseline"))
def test_raco_losses(case: Case) -> None:
    leaves, inputs, expected = Leaves(), case["inputs"], case["expected"]
    dimensions = {
        name: torch.stack([tensor(signs), torch.zeros(len(signs), dtype=torch.float64)], dim=1)
        for name, signs in zip(("first", "second"), inputs["signs"], strict=True)
    }
    batch = pairs(inputs, leaves, dimensions=dimensions, scores=torch.full((len(inputs["signs"][0]), 2), NAN))
    name = "amopo" if "amopo" in case["name"] else "raco"
    loss = build_objective({name: {"dimensions": ["first", "second"], "beta": case["hyper"]["beta"]}})(batch)
    if "loss_per_objective" in expected:
        torch.testing.assert_close(loss.mean(dim=0).detach(), tensor(expected["loss_per_objective"]))
        torch.testing.assert_close(loss.T.detach(), tensor(expected["per_example"]))
    weighted = loss @ tensor(inputs["weights"])
    assert weighted.mean().item() == pytest.approx(expected.get("weighted_loss", expected.get("loss")), rel=1e-9)
    weighted.mean().backward()
    for key in ("policy_chosen_logps", "policy_rejected_logps"):
        gradient = leaves[key].grad
        assert gradient is not None
        torch.testing.assert_close(gradient, tensor(expected[f"grad_wrt_{key}"]))


@pytest.mark.parametrize(
    "case", cases("ranking-accuracy", "beta0.1_gamma1", "beta0.1_gamma0.25", "beta5_gamma2", "very_large_margins")
)
def test_attenuated_dpo(case: Case) -> None:
    leaves, expected = Leaves(), case["expected"]
    options = {"beta": case["hyper"]["beta"], "gamma": case["hyper"]["gamma"]}
    loss = build_objective({"attenuated_dpo": options})(pairs(case["inputs"], leaves))
    renamed = {"loss": expected["dpo_gamma_loss"], "per_example": expected["dpo_gamma_loss_per_example"]}
    gradients = {key: value for key, value in expected.items() if key.startswith("grad_wrt_")}
    check({"expected": {**renamed, **gradients}}, loss, leaves)


TWO = ("policy_chosen_logps", "policy_rejected_logps")
REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")


def with_helpers(
    inputs: Case, leaves: Leaves, policy: Sequence[str], reference: Sequence[str], *roles: str
) -> Judged:
    known = torch.stack([tensor(inputs[name]) for name in (*REFERENCE, *reference)], dim=1)
    rows = [[None, None, *roles]] * len(known)
    return judged(sums(inputs, leaves, *TWO, *policy), known, roles=rows)


@pytest.mark.parametrize("case", cases("vlm-dpo", prefix="mdpo_"))
def test_mdpo(case: Case) -> None:
    leaves = Leaves()
    batch = with_helpers(
        case["inputs"],
        leaves,
        ["policy_chosen_corrupted_image_logps"],
        ["ref_chosen_corrupted_image_logps"],
        "corrupted_image",
    )
    loss = build_objective({"mdpo": {"beta": case["hyper"]["beta"], "delta": case["hyper"]["delta"]}})(batch)
    for index, name in enumerate(("text", "image", "anchor")):
        torch.testing.assert_close(loss[:, index].detach(), tensor(case["expected"]["terms"][name]))
    check(case, loss, leaves)


@pytest.mark.parametrize("case", cases("vlm-dpo", prefix="vdpo_"))
def test_vdpo(case: Case) -> None:
    leaves, inputs = Leaves(), case["inputs"]
    blank = ("imageless_chosen_logps", "imageless_rejected_logps")
    batch = with_helpers(inputs, leaves, blank, blank, "blank_image", "blank_image")
    options = {"beta": case["hyper"]["beta"], "gamma": case["hyper"]["gamma"]}
    check(case, build_objective({"vdpo": options})(batch), leaves)


@pytest.mark.parametrize("case", cases("re-align", prefix="rdpo_"))
def test_re_align(case: Case) -> None:
    leaves = Leaves()
    batch = with_helpers(
        case["inputs"], leaves, ["policy_chosen_retrieved_logps"], ["ref_chosen_retrieved_logps"], "corrupted_image"
    )
    loss = build_objective({"re_align": {"beta": case["hyper"]["beta"]}})(batch)
    torch.testing.assert_close(loss[:, 0].detach(), tensor(case["expected"]["text_term"]))
    torch.testing.assert_close(loss[:, 1].detach(), tensor(case["expected"]["visual_term"]))
    if case["name"] == "rdpo_same_image":
        # The fixture differentiates with respect to two names of one number.
        return
    check(case, loss, leaves)


@pytest.mark.parametrize("case", cases("bdhs", prefix="average_dpo"))
def test_bdhs(case: Case) -> None:
    leaves = Leaves()
    batch = with_helpers(
        case["inputs"], leaves, ["policy_self_rejected_logps"], ["ref_self_rejected_logps"], "self_rejected"
    )
    options = {"beta": case["hyper"]["beta"], "gamma": case["hyper"]["gamma"]}
    check(case, build_objective({"bdhs": options})(batch), leaves)


@pytest.mark.parametrize("case", cases("vlm-dpo", "ddpo_token_weights"))
def test_dense_dpo_weighs_marked_spans(case: Case) -> None:
    inputs, expected = case["inputs"], case["expected"]
    tokens, marked = tensor(inputs["token_logps"]), torch.tensor(inputs["changed_mask"]).bool()
    kept = torch.tensor(inputs["label_mask"]).bool()
    for average, key in ((False, "weighted_sum"), (True, "weighted_average")):
        values = tensor(expected[key])
        rows = list(zip(tokens, marked, kept, strict=True))
        for (first, one), (second, two) in zip(enumerate(rows), list(enumerate(rows))[1:], strict=False):
            flat = torch.cat([one[0][one[2]], two[0][two[2]]])
            counts = torch.tensor([int(one[2].sum()), int(two[2].sum())])
            segment = torch.where(torch.cat([one[1][one[2]], two[1][two[2]]]), FIRST_STREAM, 0)
            owner = torch.arange(2).repeat_interleave(counts)
            policy = Likelihoods(flat, owner, (1, 2), torch.ones(1, 2, dtype=torch.bool), segment)
            objective = build_objective({"dense_dpo": {"beta": 0.01, "span_weight": 5.0, "average": average}})
            expected_loss = -torch.nn.functional.logsigmoid(0.01 * (values[first] - values[second]))
            torch.testing.assert_close(objective(judged(policy)), expected_loss.unsqueeze(0))


@pytest.mark.parametrize("case", cases("levo", "dpo_sum_over_three_streams", "dpo_huge_margin"))
def test_songs_sum_their_streams(case: Case) -> None:
    inputs, leaves = case["inputs"], Leaves()

    def streams(which: str) -> Likelihoods:
        names = [f"{which}_{side}_logps_per_stream" for side in ("chosen", "rejected")]
        values = [leaves.setdefault(name, leaf(inputs[name])) for name in names]
        size = len(values[0])
        owner = torch.arange(2 * size).repeat_interleave(3)
        segment = torch.tensor([0, FIRST_STREAM, FIRST_STREAM + 1]).repeat(2 * size)
        tokens = torch.stack(values, dim=1).flatten()
        return Likelihoods(tokens, owner, (size, 2), torch.ones(size, 2, dtype=torch.bool), segment)

    batch = judged(streams("policy"), streams("ref").detach())
    check(case, build_objective({"dpo": {"beta": case["hyper"]["beta"]}})(batch), leaves)


def errors(
    inputs: Case, leaves: Leaves, policy: Sequence[str], reference: Sequence[str]
) -> tuple[Tensor, Tensor | None]:
    """Likelihoods of a diffusion policy: negated errors of one draw."""
    known = torch.stack([-tensor(inputs[name]) for name in reference], dim=1) if reference else None
    return -sums(inputs, leaves, *policy), known


DIFFUSION = [
    "dpo_official_half_beta",
    "dpo_diffusers_sd15_full_beta",
    "dpo_at_init_policy_equals_ref",
    "hinge",
    "ipo",
]
DIFFUSION += ["dpo_very_large_margin_no_overflow", "crpo_dpo_plus_winner_mse"]


@pytest.mark.parametrize("case", cases("diffusion-dpo", *DIFFUSION))
def test_diffusion_dpo(case: Case) -> None:
    leaves, variant = Leaves(), case["hyper"]["variant"]
    policy, reference = errors(
        case["inputs"],
        leaves,
        ["policy_chosen_mse", "policy_rejected_mse"],
        ["ref_chosen_mse", "ref_rejected_mse"],
    )
    options = {
        "beta": case["hyper"]["beta"],
        "halved": "half" in variant,
        "link": variant.partition("_")[0],
        "winner_weight": 1.0 if "winner" in variant else 0.0,
    }
    check(case, build_objective({"diffusion_dpo": options})(judged(policy, reference)), leaves, tolerance=1e-8)


@pytest.mark.parametrize("case", cases("diffusion-dpo", prefix="kto_"))
def test_diffusion_kto(case: Case) -> None:
    leaves, hyper = Leaves(), case["hyper"]
    policy, reference = errors(case["inputs"], leaves, ["policy_mse"], ["ref_mse"])
    options = {
        "beta": hyper["beta"],
        "utility": hyper["utility"],
        "desirable_weight": hyper["lambda_desirable"],
        "undesirable_weight": hyper["lambda_undesirable"],
    }
    batch = judged(policy, reference, labels=tensor(case["inputs"]["labels"]).unsqueeze(1))
    check(case, build_objective({"diffusion_kto": options})(batch), leaves, tolerance=1e-8)


@pytest.mark.parametrize("case", cases("mapo", "stable_at_zero_error", "stable_at_very_large_error"))
def test_mapo(case: Case) -> None:
    leaves, hyper = Leaves(), case["hyper"]
    policy, _ = errors(case["inputs"], leaves, ["policy_chosen_mse", "policy_rejected_mse"], [])
    options = {"beta": hyper["beta"], "snr": hyper["snr"], "timesteps": hyper["num_train_timesteps"]}
    check(case, build_objective({"mapo": options})(judged(policy)), leaves, tolerance=1e-8)


@pytest.mark.parametrize(
    "case", cases("mapo", "default", "near_equal_errors", "beta1_snr1_T100", "rejected_error_huge")
)
def test_mapo_from_errors(case: Case) -> None:
    hyper, inputs = case["hyper"], case["inputs"]
    policy = -torch.stack([tensor(inputs["policy_chosen_mse"]), tensor(inputs["policy_rejected_mse"])], dim=1)
    options = {"beta": hyper["beta"], "snr": hyper["snr"], "timesteps": hyper["num_train_timesteps"]}
    loss = build_objective({"mapo": options})(judged(policy))
    assert loss.mean().item() == pytest.approx(case["expected"]["loss"], rel=1e-8)


@pytest.mark.parametrize("case", cases("tpo-free-lunch", "tdpo", "tdpo_clip_inactive", "tkto", "tkto_clip"))
def test_tpo_free_lunch(case: Case) -> None:
    leaves, hyper, inputs = Leaves(), case["hyper"], case["inputs"]
    options = {"beta": hyper["beta"], "negative_clip": hyper["negative_clip"]}
    if case["name"].startswith("tkto"):
        policy, reference = errors(inputs, leaves, ["policy_mse"], ["ref_mse"])
        batch = judged(policy, reference, labels=tensor(inputs["labels_matched"]).unsqueeze(1))
        loss = build_objective({"tkto": options})(batch)
    else:
        names = ("matched_mse", "mismatched_mse")
        policy, reference = errors(inputs, leaves, [f"policy_{n}" for n in names], [f"ref_{n}" for n in names])
        loss = build_objective({"tpo_free_lunch": options})(judged(policy, reference))
    check(case, loss, leaves, tolerance=1e-8)


@pytest.mark.parametrize("case", cases("tpo-free-lunch", "tdpo_clip_active_kills_negative_gradient"))
def test_tpo_clip_stops_the_mismatched_gradient(case: Case) -> None:
    leaves, names = Leaves(), ("matched_mse", "mismatched_mse")
    policy, reference = errors(
        case["inputs"], leaves, [f"policy_{name}" for name in names], [f"ref_{name}" for name in names]
    )
    options = {"beta": case["hyper"]["beta"], "negative_clip": case["hyper"]["negative_clip"]}
    check(case, build_objective({"tpo_free_lunch": options})(judged(policy, reference)), leaves, tolerance=1e-8)


@pytest.mark.parametrize("unit", [1.0, 7.0, 0.02])
def test_the_scale_of_a_model_is_found_with_the_reliability(unit: float) -> None:
    draw = torch.Generator().manual_seed(3)
    log_odds = 3 * torch.randn(6000, generator=draw, dtype=torch.float64)
    right = torch.rand(6000, generator=draw) < log_odds.sigmoid()
    kept = torch.rand(6000, generator=draw) < 0.8
    shown = torch.where(right == kept, 1.0, -1.0) * log_odds
    found = fit_scale(unit * shown)
    assert found.factor * unit == pytest.approx(1.0, rel=0.2)
    assert found.reliability == pytest.approx(0.8, abs=0.03)
    assert found.interval[0] <= 0.8 <= found.interval[1]
    audit = estimate_reliability(found.factor * unit * shown)
    assert audit.noise_rate == pytest.approx(1 - found.reliability, abs=0.01), "EM and the profile agree"
    unscaled = estimate_reliability(50 * shown).noise_rate
    assert unscaled > 0.25, "a model that is held for surer than it is finds doubt to be noise"


def test_a_scale_needs_a_model_that_prefers_something() -> None:
    with pytest.raises(InputError, match="prefers no candidate"):
        fit_scale(torch.zeros(5))
    with pytest.raises(InputError, match="finite"):
        fit_scale(torch.tensor([1.0, float("nan")]))
