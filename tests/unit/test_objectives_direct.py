"""Every row of the direct losses: value and gradient in float64, against independently derived numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from assent.likelihood import Likelihoods
from assent.objectives import Judged, build_objective
from tests.batches import columns, judged, pairs

FIXTURE = json.loads((Path(__file__).parents[1] / "fixtures" / "direct-losses.json").read_text())
CASES = {case["name"]: case for case in FIXTURE["cases"]}

RENAMED: dict[str, dict[str, str]] = {
    "sppo": {"eta_inv": "eta_inverse"},
    "sppo_hard": {"beta": "eta_inverse"},
    "bco_pair": {"delta": "shift"},
    "discopop": {"discopop_tau": "temperature"},
    "robust": {"label_smoothing": "flip_rate"},
    "cal_dpo": {"cal_weight": "calibration_weight"},
    "dpop": {"lam": "penalty"},
    "f_dpo": {"f_divergence": "divergence", "alpha": "alpha_coefficient"},
    "dpo_plus_nll": {"alpha": "nll_weight"},
    "orpo": {"lam": "odds_weight"},
    "cpo": {"cpo_alpha": "nll_weight"},
    "slic_hf": {"lam": "nll_weight"},
    "alpha_dpo": {"gamma_beta_ratio": "margin_ratio"},
    "beta_dpo": {"beta0": "beta", "a": "sensitivity"},
    "dr_dpo": {"beta_prime": "trust"},
    "tis_dpo": {"k": "scale", "mu": "temper", "clamp_low": "low", "clamp_high": "high"},
    "ld_dpo": {"ld_alpha": "alpha", "apply_to_ref": "apply_to_reference"},
    "wpo": {"clamp_max": "bounded"},
    "info_nca": {"alpha": "reward_temperature"},
    "nca": {"alpha": "reward_temperature"},
    "exo_rw": {"beta_pi": "beta", "beta_r": "reward_temperature"},
    "rrhf": {"rrhf_weight": "rank_weight", "normalise_sft": "average_sft"},
}
"""Our option for each hyperparameter of the fixture, where the names differ."""


def objective_of(hyper: dict[str, Any]) -> Any:
    hyper = dict(hyper)
    loss = hyper.pop("loss")
    hyper.pop("gap_mean", None)
    options = {RENAMED.get(loss, {}).get(name, name): value for name, value in hyper.items()}
    if loss == "cpo":
        options["nll_weight"] = 0.0
    if loss == "wpo":
        options = {"base": {"dpo": {"beta": options.pop("beta")}}, **options}
    return build_objective({"token_dpo" if loss == "tdpo" else loss: options})


def unpaired(inputs: dict[str, Any], leaves: dict[str, Tensor]) -> Judged:
    leaves["policy_logps"] = torch.tensor(inputs["policy_logps"], dtype=torch.float64, requires_grad=True)
    policy, reference = [leaves["policy_logps"]], [inputs["ref_logps"]]
    roles: list[str | None] = [None]
    labels = torch.tensor(inputs["labels"]).long().unsqueeze(1)
    if "kl_policy_logps" in inputs:
        policy.append(torch.tensor(inputs["kl_policy_logps"], dtype=torch.float64))
        reference.append(inputs["kl_ref_logps"])
        roles.append("mismatched")
        labels = torch.cat([labels, torch.full_like(labels, -1)], dim=1)
    size = len(labels)
    return judged(torch.stack(policy, dim=1), columns(*reference), labels=labels, roles=[roles] * size)


def lists(inputs: dict[str, Any], leaves: dict[str, Tensor]) -> Judged:
    """Lists in column order: best reward first; the leaf keeps the fixture's order."""
    rewards = torch.tensor(inputs["rewards"], dtype=torch.float64)
    order = rewards.argsort(dim=1, descending=True, stable=True)
    leaves["policy_logps"] = torch.tensor(inputs["policy_logps"], dtype=torch.float64, requires_grad=True)

    def sorted_columns(name: str) -> Tensor | None:
        return torch.tensor(inputs[name], dtype=torch.float64).gather(1, order) if name in inputs else None

    lengths = sorted_columns("lengths")
    return judged(
        leaves["policy_logps"].gather(1, order),
        sorted_columns("ref_logps"),
        lengths=None if lengths is None else lengths.long(),
        scores=rewards.gather(1, order),
    )


STATISTICS = {"position_kl": "kl_reference", "contrast_logratio": "contrast", "log_sum_sq_probs": "log_sum_p2"}


def token_pairs(inputs: dict[str, Any], leaves: dict[str, Tensor]) -> Judged:
    """Pairs of token sequences: the fixture pads, the likelihoods are ragged."""
    size = len(inputs["chosen_mask"])

    def flat(name: str) -> Tensor:
        """Chosen and rejected positions that exist, grouped by candidate."""
        rows = []
        for side in ("chosen", "rejected"):
            key = name.format(side)
            if key not in leaves:
                leaves[key] = torch.tensor(inputs[key], dtype=torch.float64, requires_grad=True)
        for index in range(size):
            for side in ("chosen", "rejected"):
                mask = torch.tensor(inputs[f"{side}_mask"][index]).bool()
                rows.append(leaves[name.format(side)][index][mask])
        return torch.cat(rows)

    counts = [int(sum(inputs[f"{side}_mask"][index])) for index in range(size) for side in ("chosen", "rejected")]
    owner = torch.repeat_interleave(torch.arange(2 * size), torch.tensor(counts))
    mask = torch.ones(size, 2, dtype=torch.bool)
    statistics = {ours: flat("{}_" + theirs) for theirs, ours in STATISTICS.items() if f"chosen_{theirs}" in inputs}
    policy = Likelihoods(flat("policy_{}_token_logps"), owner, (size, 2), mask, statistics=statistics)
    contrast = {name: statistics.pop(name) for name in ("contrast",) if name in statistics}
    reference = Likelihoods(flat("ref_{}_token_logps").detach(), owner, (size, 2), mask, statistics=contrast)
    return judged(policy, reference)


def batch_of(case: dict[str, Any], leaves: dict[str, Tensor]) -> Judged:
    inputs = case["inputs"]
    if "labels" in inputs:
        return unpaired(inputs, leaves)
    if "rewards" in inputs:
        return lists(inputs, leaves)
    if "chosen_mask" in inputs:
        return token_pairs(inputs, leaves)
    scores = None
    for chosen, rejected in (("chosen_scores", "rejected_scores"), ("win_prob_chosen", "win_prob_rejected")):
        if chosen in inputs:
            scores = columns(inputs[chosen], inputs[rejected])
    return pairs(inputs, leaves, scores=scores)


def loss_of(case: dict[str, Any], batch: Judged) -> Tensor:
    objective = objective_of(case["hyper"])
    if case["hyper"]["loss"] == "beta_dpo":
        # The fixture gives the draw and the moving average, which the objective makes for itself.
        objective.center.fill_(case["hyper"]["gap_mean"])
        return objective.loss(batch.margin(), torch.tensor(case["inputs"]["keep_mask"]).bool())
    loss: Tensor = objective(batch)
    return loss


@pytest.mark.parametrize("name", CASES)
def test_equals_the_fixture(name: str) -> None:
    case, expected = CASES[name], CASES[name]["expected"]
    leaves: dict[str, Tensor] = {}
    loss = loss_of(case, batch_of(case, leaves))
    value = loss.mean()
    if "per_example" in expected and loss.dim() == 1:
        each = torch.tensor(expected["per_example"], dtype=torch.float64)
        if case["hyper"]["loss"] == "kto_pair":
            each = each.view(2, -1).mean(dim=0)
        torch.testing.assert_close(loss.detach(), each, rtol=1e-9, atol=1e-9)
    assert value.item() == pytest.approx(expected["loss"], rel=1e-9, abs=1e-10)
    gradients = [key for key in expected if key.startswith("grad_wrt_")]
    assert gradients
    value.backward()
    for key in gradients:
        gradient = leaves[key.removeprefix("grad_wrt_")].grad
        assert gradient is not None
        torch.testing.assert_close(gradient, torch.tensor(expected[key], dtype=torch.float64), rtol=1e-8, atol=1e-10)


def test_cpo_with_imitation_equals_the_fixture() -> None:
    case = CASES["cpo/random"]
    batch = pairs(case["inputs"], {})
    loss = build_objective({"cpo": {"beta": 0.1, "nll_weight": 1.0}})(batch)
    assert loss.mean().item() == pytest.approx(case["expected"]["loss_with_nll"], rel=1e-9)
