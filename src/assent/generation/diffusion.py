"""Pictures from a denoising network, through a diffusers scheduler, one seed for each picture.

The same seed gives the same starting noise whatever the batch, so that grids before and after alignment show the
same pictures changed. `guidance` is classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598):
f = f_null + guidance (f_condition - f_null), 1 being none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from assent.likelihood.denoisers import Conditioning, denoiser_for


def seeded_noise(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """[N, *shape] standard normal noise, one seed for each row."""
    return torch.stack([torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def _shift(scheduler: Any, start: Tensor) -> dict[str, float]:
    """How far a flow-matching schedule moves towards noise, for schedulers that make it depend on the size.

    Esser et al. 2024, arXiv 2403.03206, section 5.3.2; linear in the number of 2x2 patches, as its pipelines have it.
    """
    config = scheduler.config
    if not config.get("use_dynamic_shifting"):
        return {}
    patches = start.shape[-2] * start.shape[-1] / 4
    short, long = config["base_image_seq_len"], config["max_image_seq_len"]
    slope = (config["max_shift"] - config["base_shift"]) / (long - short)
    return {"mu": config["base_shift"] + slope * (patches - short)}


@torch.no_grad()
def sample(
    model: nn.Module,
    scheduler: Any,
    conditioning: Conditioning,
    start: Tensor,
    steps: int = 25,
    guidance: float = 1.0,
    without: Conditioning | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Clean pictures (or latents) [N, C, H, W].

    Args:
        model: the denoising network.
        scheduler: a diffusers scheduler (DDIM, flow-match Euler, ...); its state is set here.
        conditioning: one entry for each row.
        start: noise, from `seeded_noise`.
        steps: of the sampler.
        guidance: strength of classifier-free guidance.
        without: the conditioning that stands for none; needed for guidance other than 1.
        progress: called with (done, steps).
    """
    denoise = denoiser_for(model)
    scheduler.set_timesteps(steps, **_shift(scheduler, start))
    options: dict[str, Any] = {}
    if "use_clipped_model_output" in inspect.signature(scheduler.step).parameters:
        # With the clean estimate clipped, a step needs the noise that belongs to the clipped one: the network's own
        # pulls the sample back out of range at every step, which collapses models that align strongly.
        options["use_clipped_model_output"] = bool(scheduler.config.get("clip_sample"))
    state = start * float(getattr(scheduler, "init_noise_sigma", 1.0))
    for done, timestep in enumerate(scheduler.timesteps):
        told = timestep.expand(len(state)).to(state.device)
        shown = scheduler.scale_model_input(state, timestep) if hasattr(scheduler, "scale_model_input") else state
        predicted = denoise(model, shown, told, conditioning)
        if guidance != 1.0 and without is not None:
            null = denoise(model, shown, told, without)
            predicted = null + guidance * (predicted - null)
        state = scheduler.step(predicted, timestep, state, **options).prev_sample
        if progress:
            progress(done + 1, steps)
    return state
