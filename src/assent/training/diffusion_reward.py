"""A pipeline tuned by the gradient of a reward of pictures and texts, with its favourite direction taken out or not.

Source: Chen et al. 2025, arXiv 2512.24146 (D^2-Align): stage 1 learns the direction on the untuned pipeline's own
pictures, stage 2 climbs the corrected reward through one step under a known noise. Without a direction stage 2 is the
plain reward gradient, which collapses. The pictures of stage 1 are drawn once and kept for all its steps, since the
pipeline does not change in between.

Letters: N prompts of a batch, D size of the reward's space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from assent.errors import InputError
from assent.generation.diffusion import sample, seeded_noise
from assent.likelihood.denoisers import Conditioning
from assent.likelihood.pipelines import LoadedPipeline, latent_shape
from assent.preference_models.direction import Direction, guided_reward, learn_direction
from assent.preference_models.image_text import ImageTextModel
from assent.training.reward_gradient import Optimisation, climb_reward, known_noise

TEXT = "reward_text"
"""Entry of a batch's conditioning: the reward's embedding of each prompt, which no network reads."""
Progress = Callable[[int, float], None]


PAPER_OPTIMISATION = Optimisation(learning_rate=5e-6, clip=0.1, accumulate=2)


@dataclass(frozen=True)
class Climb:
    """How pictures are drawn and the reward is climbed.

    Args:
        steps: optimizer steps of stage 2.
        batch: prompts of a batch.
        sampler_steps: of the sampler that draws the clean pictures.
        stride: noise levels that the one step covers.
        omega: strength of the direction.
        optimisation: learning rate, clipping, accumulated batches.
        seed: of everything drawn.
    """

    steps: int = 20
    batch: int = 1
    sampler_steps: int = 25
    stride: int = 40
    omega: float = 1.5
    optimisation: Optimisation = PAPER_OPTIMISATION
    seed: int = 42


class PipelineReward:
    """A pipeline with the reward of its pictures.

    Args:
        loaded: the pipeline.
        reward: the model of pictures and texts; frozen here.
        texts: prompts that are drawn in turn.
    """

    def __init__(self, loaded: LoadedPipeline, reward: ImageTextModel, texts: Sequence[str]) -> None:
        if reward.times is not None:
            raise InputError("a step-aware model judges steps of a sampler, not pictures", field="reward")
        if not texts:
            raise InputError("no prompts to draw", field="prompts")
        self.loaded, self.reward, self.texts = loaded, reward.requires_grad_(False).eval(), list(texts)
        self.shape = latent_shape(loaded)
        self.device = next(loaded.network.parameters()).device
        with torch.no_grad():
            self.told = [
                {**{name: value.to(self.device) for name, value in one.items()}, TEXT: embedded}
                for one, embedded in zip(
                    loaded.prompts.encode(self.texts), reward.embed_texts(self.texts).to(self.device), strict=True
                )
            ]
        for one in self.told:
            # Distilled guidance is off while training, as the paper has it.
            if "guidance" in one:
                one["guidance"] = torch.ones_like(one["guidance"])

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """The conditioning of some prompts."""
        return {name: torch.stack([self.told[row][name] for row in rows]) for name in self.told[0]}

    def batches(self, count: int, size: int, seed: int) -> Iterator[Conditioning]:
        """So many batches of prompts, drawn without repetition until all were drawn."""
        generator = torch.Generator().manual_seed(seed)
        waiting: list[int] = []
        for _ in range(count):
            while len(waiting) < size:
                waiting += torch.randperm(len(self.texts), generator=generator).tolist()
            yield self.batch(waiting[:size])
            del waiting[:size]

    def drawn(self, network: nn.Module, conditioning: Conditioning, generator: torch.Generator, steps: int) -> Tensor:
        """Clean latents of the pipeline as it is now, without gradient and without guidance."""
        seeds = torch.randint(0, 2**31, (len(conditioning[TEXT]),), generator=generator).tolist()
        scheduler: Any = self.loaded.pipeline.scheduler
        start = seeded_noise(self.shape, seeds).to(self.device)
        return sample(network, type(scheduler).from_config(scheduler.config), conditioning, start, steps)

    def embed(self, latents: Tensor) -> Tensor:
        """[N, D] of the pictures of latents, with a gradient."""
        return self.reward.embed_images(self.loaded.images.pixels(latents))


def find_direction(
    setting: PipelineReward,
    how: Climb,
    steps: int = 3000,
    progress: Callable[[int, float, float], None] | None = None,
) -> Direction:
    """Stage 1: the direction that the untuned pipeline's own pictures of all prompts ask for."""
    generator = torch.Generator().manual_seed(how.seed)
    images, texts = [], []
    with torch.no_grad():
        for start in range(0, len(setting.texts), how.batch):
            rows = range(start, min(start + how.batch, len(setting.texts)))
            told = setting.batch(list(rows))
            clean = setting.drawn(setting.loaded.network, told, generator, how.sampler_steps)
            images.append(setting.embed(clean).cpu())
            texts.append(told[TEXT].cpu())
    image, text = torch.cat(images), torch.cat(texts)
    vector = learn_direction(((image, text) for _ in range(steps)), image.shape[1], how.omega, progress=progress)
    return Direction(vector, how.omega, setting.reward.key)


def climb_pipeline(
    setting: PipelineReward,
    network: nn.Module,
    how: Climb,
    direction: Direction | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Stage 2: trains the network's free parameters; returns the mean reward before each optimizer step.

    Args:
        setting: the pipeline, its reward and prompts.
        network: the pipeline's network, or an adapter around it; freeze what should stay.
        how: sampling and optimisation.
        direction: that is taken out of the reward; None: the plain reward.
        progress: called with (step, mean reward).
    """
    if direction is not None:
        direction.check(setting.reward.key)

    def clean(model: nn.Module, conditioning: Conditioning, generator: torch.Generator) -> Tensor:
        return setting.drawn(model, conditioning, generator, how.sampler_steps)

    def score(latents: Tensor, conditioning: Conditioning) -> Tensor:
        image, text = setting.embed(latents), conditioning[TEXT]
        if direction is None:
            return cosine_similarity(image, text, dim=-1)
        return guided_reward(image, text, direction.vector.to(image), direction.omega)

    batches = setting.batches(how.steps * how.optimisation.accumulate, how.batch, how.seed)
    estimate = known_noise(clean, setting.loaded.noising.to(setting.device), how.stride)
    return climb_reward(network, estimate, score, batches, how.optimisation, how.seed, progress)
