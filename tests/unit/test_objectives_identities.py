"""What papers say of their losses: when one is another, what leaves them unchanged, where their minima lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assent.errors import InputError
from assent.likelihood import Likelihoods
from assent.objectives import Judged, build_objective
from tests.batches import NAN, judged

FIXTURES = Path(__file__).parents[1] / "fixtures"


def batch(size: int = 6, seed: int = 0, equal_lengths: bool = False, **fields: Any) -> Judged:
    """Random pairs of answers of differing lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 9, (size, 2), generator=generator)
    lengths = lengths[:, :1].expand(size, 2).clone() if equal_lengths else lengths
    policy, reference = -3 * torch.rand(2, size, 2, generator=generator, dtype=torch.float64) * lengths
    return judged(policy, reference, lengths=lengths, **fields)


def loss(spec: Any, pairs: Judged) -> Tensor:
    found: Tensor = build_objective(spec)(pairs)
    return found.sum(dim=1) if found.dim() == 2 else found


DPO_BY_ANOTHER_NAME = [
    {"cdpo": {"label_smoothing": 0.0}},
    {"robust_dpo": {"flip_rate": 0.0}},
    {"gpo": {"link": "logistic"}},
    {"f_dpo": {"divergence": "reverse_kl"}},
    {"odpo": {"alpha": 0.0}},
    {"odpo": {"alpha": 3.0}},  # the scores are 1 apart
    {"length_dpo": {"alpha": 0.0}},
    {"dpop": {"penalty": 0.0, "beta": 0.1}},
    {"dpo_plus_nll": {"nll_weight": 0.0}},
    {"ld_dpo": {"alpha": 1.0}},
    {"dense_dpo": {"span_weight": 7.0}},  # no span is marked
    {"beta_dpo": {"sensitivity": 0.0, "dropped": 0.0}},
    {"attenuated_dpo": {"gamma": 1.0}},
    {"selfie": {"smoothing": 0.0, "extrapolation": 0.0}},
    {"osp": {"certainty": 1.0}},
    {"lipo": {"loss": "pair_logistic", "beta": 0.1}},
    {"lipo": {"loss": "list_mle", "beta": 0.1}},
    {"info_nca": {"beta": 0.1, "reward_temperature": 1e-3}},
    {"modpo": {"margin_weights": {}, "weight_of_pairs": 1.0}},
    {"lcpo": {"base": "dpo", "reliability": 1.0}},
    {"mapl": {}},
    "dove",  # no prompt is scored
]


@pytest.mark.parametrize("spec", DPO_BY_ANOTHER_NAME, ids=str)
def test_these_are_dpo(spec: Any) -> None:
    pairs = batch()
    torch.testing.assert_close(loss(spec, pairs), loss("dpo", pairs))


def test_other_identities() -> None:
    pairs = batch()
    close = torch.testing.assert_close
    close(loss({"gpo": {"link": "squared"}}, pairs), 0.01 * loss({"ipo": {"beta": 0.05, "average": False}}, pairs))
    close(loss("hinge", pairs), loss({"gpo": {"link": "hinge"}}, pairs))
    certain = judged(pairs.policy, pairs.reference, scores=torch.tensor([[1.0, 0.0]]).expand(6, 2))
    close(2 * loss("sppo", certain), loss("sppo_hard", pairs))
    close(
        loss({"alphapo": {"alpha": 1e-9, "gamma": 1.0}}, pairs),
        loss({"simpo": {"gamma": 1.0}}, pairs),
        atol=1e-6,
        rtol=0,
    )
    close(loss({"alphapo": {"alpha": 0.0, "gamma": 1.0}}, pairs), loss({"simpo": {"gamma": 1.0}}, pairs))
    free = judged(pairs.policy, Likelihoods.from_sums(torch.zeros(6, 2).double(), pairs.policy.length), lengths=None)
    close(loss("ln_dpo", free), loss({"simpo": {"beta": 2.0, "gamma": 0.0}}, pairs))
    close(loss({"cpo": {"nll_weight": 0.0}}, pairs), loss("dpo", free))
    equal = batch(equal_lengths=True)
    length = float(equal.policy.length[0, 0])
    first = equal.policy.length[:, 0] == length
    close(loss({"ln_dpo": {"beta": 2.0}}, equal)[first], loss({"dpo": {"beta": 2.0 / length}}, equal)[first])
    close(loss([{"dpo": {}}, {"sft": {"weight": 0.5}}], pairs), loss({"dpo_plus_nll": {"nll_weight": 0.5}}, pairs))
    close(loss({"dr_dpo": {"trust": 1e7}}, pairs), loss("dpo", pairs).mean(), atol=1e-6, rtol=0)
    close(loss("re_align", helped(pairs)), loss({"mdpo": {"anchor_weight": 0.0}}, helped(pairs)))
    close(loss({"vdpo": {"gamma": 1.0}}, helped(pairs, "blank_image", 2)), loss("dpo", pairs))
    close(loss({"bdhs": {"gamma": 1.0}}, helped(pairs, "self_rejected")), loss("dpo", pairs))


def helped(pairs: Judged, role: str = "corrupted_image", count: int = 1) -> Judged:
    """The pairs with helpers beside them."""
    assert pairs.reference is not None
    more = torch.linspace(-9, -3, len(pairs.mask) * count, dtype=torch.float64).view(-1, count)
    return judged(
        torch.cat([pairs.policy.sum, more], dim=1),
        torch.cat([pairs.reference.sum, more.flip(0)], dim=1),
        scores=torch.cat([pairs.scores, torch.full_like(more, NAN)], dim=1),
        roles=[[None, None, *[role] * count]] * len(more),
    )


@pytest.mark.parametrize("name", ["aot", "aot_unpaired", "beta_dpo", "dr_dpo"])
def test_a_step_of_one_pair_is_dpo(name: str) -> None:
    one = batch(size=1)
    options = {"beta": 0.1, **({"sensitivity": 0.0} if name == "beta_dpo" else {})}
    torch.testing.assert_close(loss({name: options}, one).sum(), loss("dpo", one).sum())


SHIFT_BLIND = [
    "dpo",
    "cdpo",
    "robust_dpo",
    "gpo",
    "ipo_sum",
    "exo_pair",
    "discopop",
    "odpo",
    "reward_aware_rpo",
    "osp",
]
SHIFT_BLIND += ["lipo", "info_nca", "exo_rw", {"lcpo": {}}, {"dr_dpo": {}}]


@pytest.mark.parametrize("spec", SHIFT_BLIND, ids=str)
def test_a_constant_on_both_log_probabilities_changes_nothing(spec: Any) -> None:
    pairs = batch(scores=torch.tensor([[0.9, 0.2]]).expand(6, 2))
    moved = judged(pairs.policy.sum + 3, pairs.reference, scores=pairs.scores)
    torch.testing.assert_close(loss(spec, moved), loss(spec, pairs))


@pytest.mark.parametrize("spec", ["nca_pair", "bco_pair", "apo_zero", "sppo_hard", "cal_dpo"], ids=str)
def test_pointwise_losses_notice_a_constant(spec: Any) -> None:
    pairs = batch()
    moved = judged(pairs.policy.sum + 3, pairs.reference)
    assert float((loss(spec, moved) - loss(spec, pairs)).abs().max()) > 1e-3


def test_swapping_answers_and_trust_changes_nothing() -> None:
    pairs = batch()
    torch.testing.assert_close(
        loss({"osp": {"certainty": 1.0}}, judged(pairs.policy, pairs.reference, confidence=torch.full((6,), 0.8))),
        loss(
            {"osp": {"certainty": 1.0}},
            judged(pairs.policy, pairs.reference, confidence=torch.full((6,), 0.8)).swapped(),
        ),
    )
    smoothed, plain = loss({"dpo": {"label_smoothing": 0.2}}, pairs), loss("dpo", pairs)
    torch.testing.assert_close(smoothed, 0.8 * plain + 0.2 * loss("dpo", pairs.swapped()))


MINIMA = [
    ({"exo_pair": {"label_smoothing": 0.1}}, 10 * torch.logit(torch.tensor(0.9))),
    ({"cdpo": {"label_smoothing": 0.1}}, 10 * torch.logit(torch.tensor(0.9))),
    ({"ipo_sum": {"beta": 0.1}}, 5.0),
    ({"reward_aware_rpo": {"eta": 2.0}}, 20.0),
]


@pytest.mark.parametrize(("spec", "margin"), MINIMA, ids=str)
def test_minima_lie_where_theory_says(spec: Any, margin: float) -> None:
    policy = torch.tensor([[float(margin) - 50, -50.0]], dtype=torch.float64, requires_grad=True)
    reference = torch.full((1, 2), -50.0, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(loss(spec, judged(policy, reference)).sum(), policy)
    assert float(gradient.abs().max()) < 1e-6


def test_discopop_starts_between_a_minimum_and_a_maximum() -> None:
    """Its gradient pushes clean pairs the wrong way at the start; that is the published loss, not a slip."""
    for margin, sign in ((-2.3714, 0.0), (0.0, 1.0), (0.07201 / 0.05, 0.0), (3.0, -1.0)):
        policy = torch.tensor([[margin - 50, -50.0]], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(
            loss("discopop", judged(policy, torch.full((1, 2), -50.0).double())).sum(), policy
        )
        found = float(gradient[0, 0])
        assert (abs(found) < 1e-3) if sign == 0 else (found * sign > 1e-2)


@settings(max_examples=40, deadline=None)
@given(chosen=st.floats(-40, 40), rejected=st.floats(-40, 40), delta=st.floats(-5, 5))
def test_bco_bounds_dpo_whatever_the_shift(chosen: float, rejected: float, delta: float) -> None:
    policy = torch.tensor([[chosen - 50, rejected - 50]], dtype=torch.float64)
    pairs = judged(policy, torch.full((1, 2), -50.0).double())
    assert float(loss({"bco_pair": {"shift": delta}}, pairs)) > float(loss("dpo", pairs)) - 1e-12


LIFTING = ["dpo", "robust_dpo", "gpo", "ipo", "exo_pair", "nca_pair", "sppo_hard", "bco_pair", "apo_zero", "ln_dpo"]
LIFTING += ["apo_down", "length_dpo", "cal_dpo", "dpop", "simpo", "orpo", "slic_hf", "alphapo", "simper", "cpo"]


def test_sign_of_the_gradient_at_the_reference() -> None:
    """Every pairwise loss lifts the chosen or lowers the rejected answer at the start; DiscoPOP does neither."""
    for name in LIFTING:
        policy = torch.full((1, 2), -10.0, dtype=torch.float64, requires_grad=True)
        pairs = judged(policy, policy.detach(), lengths=torch.full((1, 2), 10))
        (gradient,) = torch.autograd.grad(loss(name, pairs).sum(), policy)
        assert float(gradient[0, 0]) <= 0 <= float(gradient[0, 1]), name
        assert float(gradient.abs().sum()) > 0, name


GRADIENTS_AT_THE_START = {
    "dpo": (-0.05, 0.05),
    "cdpo": (-0.04, None),
    "robust_dpo": (-0.0625, None),
    "hinge": (-0.1, None),
    "ipo": (-1.0, None),
    "ipo_sum": (-10, None),
    "exo_pair": (-0.173, None),
    "nca_pair": (-0.0025, None),
    "sppo_hard": (-1000, None),
    "bco_pair": (-0.05, None),
    "kto_pair": (-0.0125, None),
    "apo_zero": (-0.025, None),
    "apo_down": (0.0, 0.025),
    "aot": (-0.005, None),
    "discopop": (0.039, -0.039),
    "ln_dpo": (-0.1, None),
    "cal_dpo": (-10.5, None),
    "dpop": (-0.15, None),
    "f_dpo": (-0.025, None),
    "simpo": (-0.20, None),
    "alphapo": (-0.18, None),
    "orpo": (-0.108, 0.008),
    "slic_hf": (-1.1, 1.0),
    "simper": (-0.037, None),
}


@pytest.mark.parametrize("name", GRADIENTS_AT_THE_START)
def test_defaults_push_as_hard_as_published(name: str) -> None:
    """One pair of 10 tokens at a mean of -1, policy at the reference, default hyperparameters."""
    policy = torch.full((1, 2), -10.0, dtype=torch.float64, requires_grad=True)
    pairs = judged(policy, policy.detach(), lengths=torch.full((1, 2), 10))
    (gradient,) = torch.autograd.grad(loss(name, pairs).sum(), policy)
    chosen, rejected = GRADIENTS_AT_THE_START[name]
    assert float(gradient[0, 0]) == pytest.approx(chosen, rel=0.03, abs=6e-4)
    if rejected is not None:
        assert float(gradient[0, 1]) == pytest.approx(rejected, rel=0.05, abs=6e-4)


def test_lists_ignore_what_was_not_judged_and_the_order_of_equals() -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = -5 * torch.rand(2, 3, 4, generator=generator, dtype=torch.float64)
    scores = torch.tensor([[0.9, 0.5, 0.1, NAN]] * 3, dtype=torch.float64)
    whole, cut = (
        judged(policy, reference, scores=scores),
        judged(policy[:, :3], reference[:, :3], scores=scores[:, :3]),
    )
    for name in ("lipo", "pro_ranking", "knowpat", "rrhf", "info_nca", "nca", "exo_rw", "gpm"):
        torch.testing.assert_close(loss(name, whole), loss(name, cut), msg=name)
    tied = torch.tensor([[0.9, 0.5, 0.5]] * 3, dtype=torch.float64)
    order = torch.tensor([0, 2, 1])
    for name in ("lipo", "rrhf", "info_nca", "nca", "exo_rw", "gpm"):
        first = judged(policy[:, :3], reference[:, :3], scores=tied)
        second = judged(policy[:, order], reference[:, order], scores=tied)
        torch.testing.assert_close(loss(name, first), loss(name, second), msg=name)


def test_flat_lists_are_finite_and_mostly_silent() -> None:
    policy = torch.tensor([[-3.0, -5.0, -4.0]], dtype=torch.float64)
    flat = judged(policy, policy - 1, scores=torch.full((1, 3), 0.5, dtype=torch.float64))
    for name, value in (("lipo", 0.0), ("knowpat", None), ("rrhf", None), ("info_nca", None), ("pro_ranking", None)):
        found = loss(name, flat)
        assert bool(found.isfinite().all())
        if value is not None:
            assert float(found.detach()) == value


def test_the_mean_of_kto_is_over_labelled_answers() -> None:
    policy = torch.tensor([[-3.0], [-5.0], [-4.0]], dtype=torch.float64)
    spec = {"kto": {"reference_point": "batch_mean"}}
    labelled = judged(policy[:2], policy[:2] - 1, labels=torch.tensor([[1], [0]]))
    with_unknown = judged(policy, policy - 1, labels=torch.tensor([[1], [0], [-1]]))
    torch.testing.assert_close(loss(spec, with_unknown).mean(), loss(spec, labelled).mean())
    for one_sided in (0, 1):
        alone = judged(policy, policy - 1, labels=torch.full((3, 1), one_sided))
        for name in (spec, "bco", "diffusion_kto", "tkto", "apo_zero_unpaired"):
            assert bool(loss(name, alone).isfinite().all())
    with pytest.raises(InputError, match="label"):
        loss(spec, judged(policy, policy - 1, labels=torch.full((3, 1), -1)))


def test_kto_asks_for_its_mismatched_answers() -> None:
    with pytest.raises(InputError, match="mismatched"):
        loss("kto", judged(torch.zeros(2, 1).double(), torch.zeros(2, 1).double(), labels=torch.ones(2, 1)))


def test_sft_imitates_the_best_and_never_a_bad_answer() -> None:
    policy = torch.tensor([[-6.0, -2.0], [-8.0, -2.0]], dtype=torch.float64)
    lengths = torch.tensor([[3, 1], [2, 1]])
    pairs = judged(policy, lengths=lengths)
    torch.testing.assert_close(loss("sft", pairs), torch.tensor([2.0, 4.0]).double())
    step = loss({"sft": {"normalise": "step"}}, pairs)
    assert float(step.mean()) == pytest.approx(14 / 5), "the token mean over the step"
    torch.testing.assert_close(loss({"sft": {"normalise": "none"}}, pairs), torch.tensor([6.0, 8.0]).double())
    disliked = judged(policy, lengths=lengths, labels=torch.tensor([[0, -1], [1, -1]]))
    torch.testing.assert_close(loss("sft", disliked), torch.tensor([0.0, 4.0]).double())


def test_a_pair_objective_explains_what_is_no_pair() -> None:
    with pytest.raises(InputError, match=r"3 judged candidates.*data\.pairs"):
        loss("dpo", judged(torch.zeros(1, 3).double(), torch.zeros(1, 3).double()))
    with pytest.raises(InputError, match="tied"):
        loss("dpo", judged(torch.zeros(1, 2).double(), torch.zeros(1, 2).double(), scores=torch.ones(1, 2)))
    with pytest.raises(InputError, match="weight"):
        loss("aot", batch(weight=torch.tensor([1.0, 2, 1, 1, 1, 1])))
    with pytest.raises(InputError, match="win probabilities"):
        loss("sppo", batch(scores=torch.tensor([[4.0, 2.0]]).expand(6, 2)))
    with pytest.raises(InputError, match="labels: wins"):
        loss("lipo", batch(scores=torch.tensor([[4.0, 2.0]]).expand(6, 2)))
    with pytest.raises(InputError, match="lcpo wraps"):
        build_objective({"lcpo": {"base": "mdpo"}})


def test_reward_models_use_the_same_losses() -> None:
    """Rewards in place of log-ratios, no reference, beta 1: MAPL of a reward model equals the paper's numbers."""
    cases = json.loads((FIXTURES / "mapl.json").read_text())["cases"]
    case = next(case for case in cases if case["name"] == "rm_losses")
    given = {name: torch.tensor(values, dtype=torch.float64) for name, values in case["inputs"].items()}
    plain = torch.stack([given["score_x_chosen"], given["score_x_rejected"]], dim=1)
    prompts = torch.stack(
        [given["score_better_prompt_same_response"], given["score_worse_prompt_same_response"]], dim=1
    )
    wide = torch.stack([given["score_widened_chosen"], given["score_widened_rejected"]], dim=1)
    objective = build_objective({"mapl": {"beta": 1.0, "inter_weight": case["hyper"]["lambda_inter"]}})
    levels = [
        objective(judged(plain))[:, 0],
        objective(judged(prompts, group=("intra",) * 6))[:, 1],
        objective(judged(torch.cat([wide, plain], dim=1), roles=[[None, None, "base_prompt", "base_prompt"]] * 6))[
            :, 2
        ],
    ]
    assert float(sum(level.mean() for level in levels)) == pytest.approx(case["expected"]["loss"], rel=1e-9)
