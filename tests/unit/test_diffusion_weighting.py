"""Weights of noise levels, chosen timesteps, and the safeguard of the loser, against arithmetic of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.errors import InputError
from assent.likelihood.diffusion import LATENTS, DiffusionPolicy, Draws
from assent.likelihood.noising import Noising
from assent.likelihood.weighting import Weighting
from assent.objectives import Judged, build_objective
from assent.objectives.diffusion_dpo import WINNER_RESIDUAL, loser_scale
from assent.training.engine import PlainEngine
from assent.training.step import StepFunction

CASES = {
    case["name"]: case
    for case in json.loads((Path(__file__).parents[1] / "fixtures" / "diffusion-dpo.json").read_text())["cases"]
}


def noising(kind: str) -> Noising:
    if kind == "flow_matching":
        return Noising.from_scheduler(FlowMatchEulerDiscreteScheduler(shift=3.0))
    return Noising.from_scheduler(DDPMScheduler(prediction_type=kind))


class Scaled(nn.Module):
    """Predicts a multiple of what it is shown."""

    def __init__(self, value: float = 0.3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(value))

    @staticmethod
    def assent_denoiser(model: Any, noisy: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        return model.scale * noisy


def pair(record: str, seed: int) -> EncodedComparison:
    generator = torch.Generator().manual_seed(seed)
    candidates = tuple(
        EncodedCandidate((), (), 0, {LATENTS: torch.randn(1, 4, 4, generator=generator)}) for _ in range(2)
    )
    return EncodedComparison(record, candidates, (1.0, 0.0), (-1, -1), (None, None))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample", "flow_matching"])
def test_weights_turn_the_networks_error_into_that_of_noise_and_picture(kind: str) -> None:
    levels = noising(kind)
    index = torch.tensor([20, 400, 800])
    generator = torch.Generator().manual_seed(0)
    clean, noise, predicted = (torch.randn(3, 1, 4, 4, generator=generator) for _ in range(3))
    noisy, target = levels.noisy(clean, noise, index), levels.target(clean, noise, index)
    own = (predicted - target).pow(2).flatten(1).mean(1)
    as_noise = (levels.noise_estimate(noisy, predicted, index) - noise).pow(2).flatten(1).mean(1)
    as_clean = (levels.clean_estimate(noisy, predicted, index) - clean).pow(2).flatten(1).mean(1)
    torch.testing.assert_close(Weighting("noise").factor(levels, index) * own, as_noise, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(Weighting("clean").factor(levels, index) * own, as_clean, rtol=1e-3, atol=1e-5)
    ratio = (levels.signal[index] / levels.noise[index]).square()
    expected = ratio.clamp(max=5.0) * as_clean
    torch.testing.assert_close(Weighting("min_snr").factor(levels, index) * own, expected, rtol=1e-3, atol=1e-5)


def test_min_snr_is_the_papers_factor_and_finite_without_signal() -> None:
    epsilon, velocity = noising("epsilon"), noising("v_prediction")
    index = torch.arange(1000)
    ratio = epsilon.log_snr(index).exp()
    papers = ratio.clamp(max=5) / ratio
    torch.testing.assert_close(Weighting("min_snr").factor(epsilon, index), papers, rtol=1e-3, atol=1e-6)
    papers = ratio.clamp(max=5) / (ratio + 1)
    torch.testing.assert_close(Weighting("min_snr").factor(velocity, index), papers, rtol=1e-3, atol=1e-6)
    terminal = Noising("epsilon", torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.arange(2))
    assert Weighting("min_snr").factor(terminal, torch.arange(2)).tolist() == [0.0, 1.0]
    with pytest.raises(InputError, match="gamma"):
        Weighting("min_snr", 0.0)


def test_a_policys_numbers_are_its_errors_times_the_weight() -> None:
    levels, pairs = noising("epsilon"), [pair("a", 0), pair("b", 1)]
    plain = DiffusionPolicy(Scaled(), levels, Draws(count=3))
    weighted = DiffusionPolicy(plain.model, levels, Draws(count=3), Weighting("min_snr"))
    batch = plain.collate(pairs)
    factor = Weighting("min_snr").factor(levels, batch["index"])
    torch.testing.assert_close(weighted(batch).tokens, factor * plain(batch).tokens)
    assert factor.min() < factor.max()


def test_only_the_asked_timesteps_are_drawn() -> None:
    told = Draws(count=40, timesteps=(249, 499, 749, 999))
    index, _ = DiffusionPolicy(Scaled(), noising("epsilon"), told).drawn("r", torch.Size((1, 2, 2)))
    assert set(index.tolist()) == {249, 499, 749, 999}
    flow = noising("flow_matching")
    index, _ = DiffusionPolicy(Scaled(), flow, Draws(count=40, timesteps=(300, 900))).drawn("r", torch.Size((1,)))
    found = sorted(set(flow.timesteps[index].tolist()))
    assert found == pytest.approx([300, 900], abs=2)
    with pytest.raises(InputError, match="no timestep"):
        Draws(timesteps=())


@pytest.mark.parametrize("name", ["sdpo_lambda_aligned", "sdpo_lambda_opposed_is_one"])
def test_the_losers_scale_equals_the_recorded_one(name: str) -> None:
    case = CASES[name]
    predicted, target = (torch.tensor(case["inputs"][key], dtype=torch.float64) for key in ("policy_pred", "target"))
    winner, loser = (predicted - target).flatten(1).chunk(2)
    scale = loser_scale((winner * winner).mean(1).sum(), (winner * loser).mean(1).sum(), case["hyper"]["mu"])
    assert scale.item() == pytest.approx(case["expected"]["lambda_rejected"], rel=1e-6)


def test_no_damping_where_both_gradients_are_equal_and_mu_is_0() -> None:
    assert loser_scale(torch.tensor(2.0), torch.tensor(2.0), 0.0).item() == 1.0
    assert loser_scale(torch.tensor(2.0), torch.tensor(0.0), 0.5).item() == 1.0


def test_the_statistic_pairs_the_residuals_of_a_comparison() -> None:
    levels = noising("epsilon")
    policy = DiffusionPolicy(Scaled(), levels, Draws(count=2), Weighting("min_snr"))
    batch = policy.collate([pair("a", 0), pair("b", 1)])
    found = policy(batch, (WINNER_RESIDUAL,)).statistics[WINNER_RESIDUAL].view(2, 2, 2)
    predicted, target = policy.predict(batch)
    weight = policy.weighting.factor(levels, batch["index"])
    residual = (weight[:, None] * (predicted - target).flatten(1)).view(2, 2, 2, -1)
    torch.testing.assert_close(found[:, 0], residual[:, 0].square().mean(-1))
    torch.testing.assert_close(found[:, 1], (residual[:, 0] * residual[:, 1]).mean(-1))


def test_the_safeguard_keeps_the_value_and_damps_the_losers_gradient() -> None:
    """Against autograd through the network's output, for a step cut into micro-batches of one comparison."""
    pairs = [pair("a", 0), pair("b", 1), pair("c", 2)]
    reference = DiffusionPolicy(Scaled(0.25), noising("epsilon"))

    def frozen(comparisons: Any, batch: Any) -> Any:
        with torch.no_grad():
            return reference(batch)

    gradients, losses = {}, {}
    for safeguard in (None, 0.95):
        policy = DiffusionPolicy(Scaled(0.9), noising("epsilon"))
        objective = build_objective({"diffusion_dpo": {"beta": 20.0, "safeguard": safeguard}})
        step = StepFunction(policy, objective, frozen, PlainEngine(), budget=2, seed=0)
        losses[safeguard] = step(policy, pairs, 1).loss.item()
        gradients[safeguard] = policy.model.scale.grad.item()

    policy = DiffusionPolicy(Scaled(0.9), noising("epsilon"))
    policy.begin_step(0, 1)
    batch = policy.collate(pairs)
    predicted, target = policy.predict(batch)
    predicted.retain_grad()
    errors = (predicted - target).pow(2).flatten(1).mean(1).view(3, 2)
    by_output = [torch.autograd.grad(errors[:, side].mean(), predicted, retain_graph=True)[0] for side in (0, 1)]
    rows = [by_output[side].view(3, 2, -1)[:, side] for side in (0, 1)]
    damping = (0.05 * rows[0].square().sum() / (rows[0] * rows[1]).sum()).clamp(0, 1)
    assert 0 < damping < 1
    damped = torch.stack([errors[:, 0], errors[:, 1].detach() + damping * (errors[:, 1] - errors[:, 1].detach())], 1)
    likelihoods = policy(batch)
    margin = Judged.of(pairs, likelihoods, frozen(pairs, batch))
    reference_errors = -margin.reference.mean
    z = 10.0 * ((damped - reference_errors)[:, 1] - (damped - reference_errors)[:, 0])
    expected = -nn.functional.logsigmoid(z).mean()
    expected.backward()
    assert losses[0.95] == pytest.approx(losses[None], rel=1e-6)
    assert losses[0.95] == pytest.approx(expected.item(), rel=1e-6)
    assert gradients[0.95] == pytest.approx(policy.model.scale.grad.item(), rel=1e-5)
    assert gradients[0.95] != pytest.approx(gradients[None], rel=1e-2)
    with pytest.raises(InputError, match="safeguard"):
        build_objective({"diffusion_dpo": {"safeguard": 1.5}})
