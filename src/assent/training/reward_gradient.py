"""Training a diffusion model by the gradient of a differentiable reward: ReFL, DRaFT, and known-noise steps.

Sources: Xu et al. 2023, arXiv 2304.05977 (ReFL); Clark et al. 2023, arXiv 2309.17400 (DRaFT-K); Chen et al. 2025,
arXiv 2512.24146 (D^2-Align's known-noise step). The three differ in where the network calls with gradient sit:

    refl         sample without gradient to a late step, one call, the clean estimate there
    draft        sample all the way, gradient through the last K calls
    known_noise  sample x0 without gradient; x_t = signal x0 + noise e with a known e; one call and one step to the
                 level before; x0^ = (x_before - noise_before e) / signal_before

This goes through a sampler, so it is a small loop of its own beside the trainer of comparisons. All of them over-
optimise fast: stop early on a held-out measure and watch diversity.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assent.errors import InputError, RunError
from assent.likelihood.denoisers import Conditioning, Denoiser, denoiser_for
from assent.likelihood.noising import Noising

Reward = Callable[[Tensor, Conditioning], Tensor]
"""From clean images (or latents) and their conditioning to a reward for each, [N], with gradient."""

Estimate = Callable[[nn.Module, Conditioning, torch.Generator], Tensor]
"""From (network, conditioning, randomness) to clean images with a gradient to the network."""


@dataclass(frozen=True)
class Optimisation:
    """How the reward is climbed.

    Args:
        learning_rate: of AdamW.
        clip: norm to which the gradient is cut.
        margin: rewards above it have no gradient (ReFL's hinge); None: no hinge.
        scale: factor on the loss.
        accumulate: batches for each optimizer step.
    """

    learning_rate: float = 1e-5
    clip: float = 1.0
    margin: float | None = None
    scale: float = 1.0
    accumulate: int = 1


def reward_loss(rewards: Tensor, margin: float | None = None, scale: float = 1.0) -> Tensor:
    """The loss of a batch: minus the mean reward, or the mean of relu(margin - reward)."""
    return scale * (-rewards if margin is None else (margin - rewards).relu()).mean()


def climb_reward(
    model: nn.Module,
    estimate: Estimate,
    reward: Reward,
    batches: Iterable[Conditioning],
    how: Optimisation,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Trains the network's free parameters and returns the mean reward before each optimizer step.

    Args:
        model: the denoising network; freeze what should stay.
        estimate: how images with a gradient are made (`refl`, `draft`, `known_noise`).
        reward: what is climbed; its own parameters should be frozen.
        batches: conditioning of each batch; as many as steps x `how.accumulate`.
        how: learning rate, clipping, hinge.
        seed: of everything drawn.
        progress: called with (step, mean reward).

    Raises:
        RunError: a reward that is not finite.
    """
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=how.learning_rate, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    history, gathered = [], []
    for count, conditioning in enumerate(batches, start=1):
        rewards = reward(estimate(model, conditioning, generator), conditioning)
        if not bool(torch.isfinite(rewards).all()):
            raise RunError(f"batch {count}: a reward is not finite; lower the learning rate")
        (reward_loss(rewards, how.margin, how.scale) / how.accumulate).backward()
        gathered.append(float(rewards.detach().mean()))
        if count % how.accumulate == 0:
            nn.utils.clip_grad_norm_(free, how.clip)
            optimizer.step()
            optimizer.zero_grad()
            history.append(sum(gathered) / len(gathered))
            gathered.clear()
            if progress:
                progress(len(history), history[-1])
    return history


def refl(scheduler: Any, noising: Noising, shape: tuple[int, ...], steps: int = 40, late: int = 30) -> Estimate:
    """Images estimated by one call at a random late step of the sampler (indices `late` .. steps - 1)."""

    def estimate(model: nn.Module, conditioning: Conditioning, generator: torch.Generator) -> Tensor:
        scheduler.set_timesteps(steps)
        stop = int(torch.randint(late, steps, (1,), generator=generator))
        denoise = denoiser_for(model)
        state = _start(conditioning, shape, generator)
        with torch.no_grad():
            for timestep in scheduler.timesteps[:stop]:
                state = _sampler_step(scheduler, denoise, model, state, timestep, conditioning)
        told = scheduler.timesteps[stop].expand(len(state))
        predicted = denoise(model, state, told, conditioning)
        level = (noising.timesteps - scheduler.timesteps[stop]).abs().argmin().expand(len(state))
        return noising.clean_estimate(state, predicted, level)

    return estimate


def draft(scheduler: Any, shape: tuple[int, ...], steps: int = 25, last: int = 1) -> Estimate:
    """Images of the whole sampler, with a gradient through its last calls."""

    def estimate(model: nn.Module, conditioning: Conditioning, generator: torch.Generator) -> Tensor:
        scheduler.set_timesteps(steps)
        denoise = denoiser_for(model)
        state = _start(conditioning, shape, generator)
        for index, timestep in enumerate(scheduler.timesteps):
            with torch.set_grad_enabled(index >= steps - last):
                state = _sampler_step(scheduler, denoise, model, state, timestep, conditioning)
        return state

    return estimate


def known_noise(
    clean: Callable[[nn.Module, Conditioning, torch.Generator], Tensor],
    noising: Noising,
    stride: int = 50,
    lowest: float = 0.05,
    highest: float = 0.95,
) -> Estimate:
    """Images recovered from one step under a noise that is known, at any level.

    Args:
        clean: samples of the network without gradient (they may be kept for several batches).
        noising: the network's noise levels.
        stride: levels that the one step covers.
        lowest: no level below this share of the table, where the step has next to no gradient.
        highest: none above it, where dividing by the signal explodes.
    """

    def estimate(model: nn.Module, conditioning: Conditioning, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            start = clean(model, conditioning, generator)
        low, high = max(int(lowest * noising.steps), stride), int(highest * noising.steps)
        # Level 0 of the table may be the noisiest (flow matching) or the cleanest.
        rising = bool(noising.noise[-1] > noising.noise[0])
        level = torch.randint(low, high, (len(start),), generator=generator)
        before = level - stride if rising else level + stride
        level, before = level.to(start.device), before.to(start.device)
        if not rising:
            level, before = level.clamp(max=noising.steps - 1 - stride), before.clamp(max=noising.steps - 1)
        noise = torch.randn(start.shape, generator=generator).to(start)
        noisy = noising.noisy(start, noise, level)
        predicted = denoiser_for(model)(model, noisy, noising.timesteps[level], conditioning)
        return recovered(noising, noisy, predicted, (level, before), noise)

    return estimate


def recovered(
    noising: Noising, noisy: Tensor, predicted: Tensor, levels: tuple[Tensor, Tensor], noise: Tensor
) -> Tensor:
    """x0^ after one deterministic step from a level to the one before, the known noise removed."""
    level, before = levels
    clean = noising.clean_estimate(noisy, predicted, level)
    error = noising.noise_estimate(noisy, predicted, level)
    stepped = noising.noisy(clean, error, before)
    signal, amount = (
        table[before].to(noisy).view(-1, *[1] * (noisy.dim() - 1)) for table in (noising.signal, noising.noise)
    )
    return (stepped - amount * noise) / signal


def _start(conditioning: Conditioning, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if not conditioning:
        raise InputError("reward training needs conditioning, which also says how many images a batch has")
    count = len(next(iter(conditioning.values())))
    return torch.randn(count, *shape, generator=generator)


def _sampler_step(
    scheduler: Any, denoise: Denoiser, model: nn.Module, state: Tensor, timestep: Tensor, conditioning: Conditioning
) -> Tensor:
    predicted = denoise(model, state, timestep.expand(len(state)), conditioning)
    options: dict[str, Any] = {}
    if "use_clipped_model_output" in inspect.signature(scheduler.step).parameters:
        options["use_clipped_model_output"] = bool(scheduler.config.get("clip_sample"))
    stepped: Tensor = scheduler.step(predicted, timestep, state, **options).prev_sample
    return stepped
