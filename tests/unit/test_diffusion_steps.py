"""Steps of a sampler as actions (SPO): densities against recorded values and diffusers, and how pairs are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.errors import InputError, RunError
from assent.likelihood.noising import Noising
from assent.likelihood.sampler_steps import NEXT, PLACE, STATE, SamplerGrid, SamplerStepPolicy
from assent.objectives import Judged, build_objective
from assent.training.diffusion_rollout import Rollout

CASES = {
    case["name"]: case
    for case in json.loads((Path(__file__).parents[1] / "fixtures" / "diffusion-dpo.json").read_text())["cases"]
}


class Given(nn.Module):
    """Predicts what it is given, row by row."""

    def __init__(self, prediction: Tensor) -> None:
        super().__init__()
        self.prediction = nn.Parameter(prediction)

    @staticmethod
    def assent_denoiser(model: Any, noisy: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        return model.prediction.float()


class Linear(nn.Module):
    """Predicts a multiple of what it is shown, plus a shift by the prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    @staticmethod
    def assent_denoiser(model: Any, noisy: Tensor, timesteps: Tensor, conditioning: Mapping[str, Tensor]) -> Tensor:
        return model.scale * noisy + conditioning["prompt_embeds"].view(-1, 1, 1, 1)


@pytest.mark.parametrize("name", ["spo_within_clip", "spo_clipped_zero_gradient"])
def test_densities_loss_and_gradient_equal_the_recorded_values(name: str) -> None:
    case = CASES[name]
    values = {key: torch.tensor(value, dtype=torch.float64) for key, value in case["inputs"].items()}
    grid = SamplerGrid(
        values["timesteps"].long(), values["alphas_cumprod_t"], values["alphas_cumprod_prev"], case["hyper"]["eta"]
    )
    levels = Noising.from_scheduler(DDIMScheduler())
    pairs = [
        EncodedComparison(
            f"r{row}",
            tuple(
                EncodedCandidate(
                    (), (), 0, {STATE: values["x_t"][row], PLACE: torch.tensor(row), NEXT: values[side][row]}
                )
                for side in ("next_latents_chosen", "next_latents_rejected")
            ),
            (1.0, 0.0),
            (-1, -1),
            (None, None),
        )
        for row in range(len(values["x_t"]))
    ]
    policy = SamplerStepPolicy(Given(values["policy_eps"]), levels, grid)
    frozen = policy.around(Given(values["ref_eps"]))
    batch = policy.collate(pairs)
    found = policy(batch)
    expected = case["expected"]
    for side, column in (("chosen", 0), ("rejected", 1)):
        assert found.mean[:, column].tolist() == pytest.approx(expected[f"policy_{side}_logps"], abs=1e-5)
    options = {"beta": case["hyper"]["beta"], "clip": case["hyper"]["eps"]}
    with torch.no_grad():
        reference = frozen(batch)
    losses = build_objective({"step_aware": options})(Judged.of(pairs, found, reference))
    assert losses.tolist() == pytest.approx(expected["per_example"], abs=1e-5)
    losses.mean().backward()
    gradient = torch.tensor(expected["grad_wrt_policy_eps"], dtype=torch.float64)
    torch.testing.assert_close(policy.model.prediction.grad, gradient, atol=2e-5, rtol=1e-4)


def test_steps_are_those_of_diffusers_ddim() -> None:
    scheduler = DDIMScheduler(clip_sample=False, steps_offset=1, beta_schedule="scaled_linear")
    grid = SamplerGrid.from_scheduler(scheduler, 10)
    scheduler.set_timesteps(10)
    assert torch.equal(grid.timesteps, scheduler.timesteps)
    generator = torch.Generator().manual_seed(0)
    state, noise, fresh = (torch.randn(2, 1, 4, 4, generator=generator) for _ in range(3))
    for place, timestep in enumerate(scheduler.timesteps):
        rows = torch.full((2,), place)
        mine = grid.mean(state, noise, rows) + grid.sigma[place] * fresh
        theirs = scheduler.step(noise, timestep, state, eta=1.0, variance_noise=fresh).prev_sample
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)
    rows = torch.zeros(2, dtype=torch.long)
    mean = grid.mean(state, noise, rows)
    normal = torch.distributions.Normal(mean, grid.sigma[0]).log_prob(fresh).flatten(1).mean(1)
    torch.testing.assert_close(grid.log_density(fresh, mean, rows), normal)


def test_what_has_no_density_is_refused() -> None:
    with pytest.raises(InputError, match="variance-preserving"):
        SamplerGrid.from_scheduler(FlowMatchEulerDiscreteScheduler(), 10)
    levels = Noising.from_scheduler(DDIMScheduler())
    with pytest.raises(InputError, match="deterministic"):
        SamplerStepPolicy(Linear(), levels, SamplerGrid.from_scheduler(DDIMScheduler(), 10, eta=0.0))


def prompts(count: int) -> list[EncodedComparison]:
    return [
        EncodedComparison(
            f"prompt-{number}",
            (EncodedCandidate((), (), 0, {"prompt_embeds": torch.tensor([[0.1 * number]])}),),
            (float("nan"),),
            (-1,),
            (None,),
            extra={"prompt": f"{number}"},
        )
        for number in range(count)
    ]


def brightness(latents: Tensor, texts: Sequence[str], timesteps: Tensor) -> Tensor:
    assert len(texts) == len(latents) == len(timesteps)
    return 100 * latents.flatten(1).mean(1)


def policy(guidance: float = 1.0) -> SamplerStepPolicy:
    grid = SamplerGrid.from_scheduler(DDIMScheduler(clip_sample=False), 8)
    levels = Noising.from_scheduler(DDIMScheduler(clip_sample=False))
    return SamplerStepPolicy(Linear(), levels, grid, guidance, {"prompt_embeds": torch.zeros(1, 1)})


def test_pairs_leave_one_state_and_the_better_estimate_comes_first() -> None:
    told = policy(3.0)
    rollout = Rollout(brightness, (1, 4, 4), candidates=3, first=2, threshold=0.3)
    found, numbers = rollout.pairs(told, prompts(2), (0, 1))
    assert numbers["tried"] == 2 * (8 - 1 - 2)
    assert 0 < len(found) <= numbers["tried"]
    for pair in found:
        best, worst = pair.candidates
        place = best.media[PLACE]
        assert torch.equal(best.media[STATE], worst.media[STATE])
        assert not torch.equal(best.media[NEXT], worst.media[NEXT])
        assert 2 <= int(place) < 7
        after, reached = place.expand(2) + 1, torch.stack([best.media[NEXT], worst.media[NEXT]])
        own = {"prompt_embeds": best.media["prompt_embeds"].expand(2, 1, 1)}
        with torch.no_grad():
            clean = told.grid.clean(reached, told.noise(reached, after, own), after)
        scores = brightness(clean, ["", ""], after)
        assert (scores[0] - scores[1]).sigmoid() - (scores[1] - scores[0]).sigmoid() > 0.3
    batch = told.collate(found)
    assert told(batch).mean.shape == (len(found), 2)


def test_chains_do_not_depend_on_how_they_are_cut_and_depend_on_the_step() -> None:
    told = policy()
    everything = {
        at: Rollout(brightness, (1, 4, 4), candidates=3, first=1, threshold=0.0, at_once=at).pairs(
            told, prompts(4), (0, 1)
        )[0]
        for at in (3, 64)
    }
    assert [pair.id for pair in everything[3]] != []
    assert sorted(pair.id for pair in everything[3]) == sorted(pair.id for pair in everything[64])
    by_id = {pair.id: pair for pair in everything[64]}
    for pair in everything[3]:
        torch.testing.assert_close(pair.candidates[0].media[NEXT], by_id[pair.id].candidates[0].media[NEXT])
    other, _ = Rollout(brightness, (1, 4, 4), candidates=3, first=1, threshold=0.0).pairs(told, prompts(4), (0, 2))
    assert not torch.equal(other[0].candidates[0].media[NEXT], everything[64][0].candidates[0].media[NEXT])


def test_nothing_decided_gives_no_pair_and_a_broken_judge_is_named() -> None:
    def same(latents: Tensor, texts: Sequence[str], timesteps: Tensor) -> Tensor:
        return torch.zeros(len(latents))

    assert Rollout(same, (1, 4, 4)).pairs(policy(), prompts(2), (0, 1))[0] == []
    with pytest.raises(RunError, match="one finite number"):
        Rollout(lambda latents, texts, told: latents.sum(), (1, 4, 4)).pairs(policy(), prompts(1), (0, 1))
    with pytest.raises(RunError, match="one finite number"):
        Rollout(lambda latents, texts, told: latents.flatten(1).mean(1) / 0, (1, 4, 4)).pairs(
            policy(), prompts(1), (0, 1)
        )
