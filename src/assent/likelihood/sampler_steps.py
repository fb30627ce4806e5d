"""The steps of a stochastic sampler as actions: how likely a denoising model finds the step that was taken.

Source: Song et al. 2020, arXiv 2010.02502, eq. 12 and 16 (DDIM with eta); Black et al. 2023, arXiv 2305.13301 (its
steps as a policy). From level t to the one before, p, of the sampler's grid, with a = cumulative alpha:

    x0^ = (x_t - sqrt(1 - a_t) e) / sqrt(a_t)
    mu  = sqrt(a_p) x0^ + sqrt(1 - a_p - sigma^2) e,   sigma = eta sqrt((1 - a_p) / (1 - a_t)) sqrt(1 - a_t / a_p)
    log N(x_p; mu, sigma^2), the MEAN over the D elements of a latent, not their sum

e is the network's noise estimate, under guidance where the sampler is guided: then it is the guided model that is
trained. The last step, to a_p = 1, has sigma = 0 and no density; it is never scored. Flow matching has no stochastic
sampler of this form and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.likelihood.denoisers import Conditioning, denoiser_for
from assent.likelihood.likelihoods import Likelihoods
from assent.likelihood.noising import Noising
from assent.likelihood.policy import Batch, Policy

STATE, NEXT, PLACE = "state", "next", "place"
"""Media of a candidate: x_t, the x before it that was reached, and the step's place in the grid."""


@dataclass(frozen=True, eq=False)
class SamplerGrid:
    """The levels that a sampler goes through, noisiest first.

    Args:
        timesteps: [S] what the network is told.
        alphas: [S] cumulative alphas there.
        before: [S] cumulative alphas of the level that each step leads to.
        eta: how stochastic the steps are; 0 is deterministic and has no density.
    """

    timesteps: Tensor
    alphas: Tensor
    before: Tensor
    eta: float = 1.0

    def __len__(self) -> int:
        return len(self.timesteps)

    @property
    def sigma(self) -> Tensor:
        """[S] standard deviation of each step."""
        return self.eta * ((1 - self.before) / (1 - self.alphas) * (1 - self.alphas / self.before)).sqrt()

    def clean(self, state: Tensor, noise: Tensor, place: Tensor) -> Tensor:
        """x0^ of each row, from its noise estimate."""
        alpha = _like(self.alphas[place], state)
        return (state - (1 - alpha).sqrt() * noise) / alpha.sqrt()

    def mean(self, state: Tensor, noise: Tensor, place: Tensor) -> Tensor:
        """mu of each row's step."""
        before, sigma = _like(self.before[place], state), _like(self.sigma[place], state)
        # Rounding may take the difference below 0 at the last step.
        direction = (1 - before - sigma.square()).clamp(min=0).sqrt()
        return before.sqrt() * self.clean(state, noise, place) + direction * noise

    def log_density(self, reached: Tensor, mean: Tensor, place: Tensor) -> Tensor:
        """[N] mean over elements of log N(reached; mean, sigma^2)."""
        sigma = _like(self.sigma[place], mean)
        squared = ((reached - mean) / sigma).square()
        return (-squared / 2 - sigma.log() - math.log(2 * math.pi) / 2).flatten(1).mean(dim=1)

    def to(self, device: torch.device | str) -> SamplerGrid:
        """The same tables on another device."""
        return SamplerGrid(self.timesteps.to(device), self.alphas.to(device), self.before.to(device), self.eta)

    @classmethod
    def from_scheduler(cls, scheduler: Any, steps: int, eta: float = 1.0) -> SamplerGrid:
        """The grid that diffusers' DDIM has for this schedule.

        Raises:
            InputError: a schedule without cumulative alphas (flow matching).
        """
        if getattr(scheduler, "alphas_cumprod", None) is None:
            raise InputError(
                "preferences between sampler steps need a variance-preserving schedule",
                field="model",
                found=type(scheduler).__name__,
                remedy="Use diffusion_dpo, which flow-matching models can be trained with",
            )
        from diffusers import DDIMScheduler

        grid = DDIMScheduler.from_config(scheduler.config)
        grid.set_timesteps(steps)
        alphas = grid.alphas_cumprod.float().cpu()
        previous = grid.timesteps - grid.config.num_train_timesteps // steps
        final = torch.as_tensor(grid.final_alpha_cumprod).float()
        before = torch.where(previous >= 0, alphas[previous.clamp(min=0)], final)
        return cls(grid.timesteps, alphas[grid.timesteps], before, eta)


class SamplerStepPolicy(Policy):
    """Scores steps of the sampler; the candidates of a comparison leave the same state.

    Args:
        model: the denoising network.
        noising: the noise levels it was trained with, which say what its prediction means.
        grid: of the sampler.
        guidance: strength of classifier-free guidance; 1 is none.
        without: the conditioning that stands for no prompt; needed for guidance.
    """

    def __init__(
        self,
        model: nn.Module,
        noising: Noising,
        grid: SamplerGrid,
        guidance: float = 1.0,
        without: Conditioning | None = None,
    ) -> None:
        super().__init__(model)
        if grid.eta <= 0:
            raise InputError("a deterministic sampler has no likely and unlikely steps", field="eta", found="0")
        self.noising, self.grid, self.guidance = noising, grid, guidance
        self.without = dict(without or {})
        self.denoise = denoiser_for(model)

    def around(self, model: nn.Module) -> SamplerStepPolicy:
        """Another network scored on the same steps."""
        return SamplerStepPolicy(model, self.noising, self.grid, self.guidance, self.without)

    def cost(self, comparison: EncodedComparison) -> int:
        """Rows that the network sees: one state, twice under guidance."""
        return 1 if self.guidance == 1 or not self.without else 2

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        """One row for each comparison's state; the steps that were taken from it [B, K, ...]."""
        first = [comparison.candidates[0].media for comparison in comparisons]
        others = {name: torch.stack([media[name] for media in first]) for name in first[0] if name != NEXT}
        reached = torch.stack(
            [torch.stack([candidate.media[NEXT] for candidate in one.candidates]) for one in comparisons]
        )
        conditioning = {name: value for name, value in others.items() if name not in (STATE, PLACE)}
        return {STATE: others[STATE], PLACE: others[PLACE], NEXT: reached, "conditioning": conditioning}

    def forward(self, batch: Batch, statistics: tuple[str, ...] = ()) -> Likelihoods:
        """Mean log-densities of the steps, [B K] in float32 or wider."""
        if statistics:
            raise InputError("steps of a sampler have no statistics", field="statistics", found=", ".join(statistics))
        state, place, reached = batch[STATE], batch[PLACE], batch[NEXT]
        conditioning: Conditioning = batch["conditioning"]  # type: ignore[assignment]
        grid = self.grid.to(state.device)
        mean = grid.mean(state, self.noise(state, place, conditioning), place)
        count, width = reached.shape[:2]
        rows = torch.arange(count, device=state.device).repeat_interleave(width)
        tokens = grid.log_density(reached.flatten(0, 1), mean[rows], place[rows])
        mask = torch.ones(count, width, dtype=torch.bool, device=state.device)
        return Likelihoods(tokens, torch.arange(count * width, device=state.device), (count, width), mask)

    def noise(self, state: Tensor, place: Tensor, conditioning: Conditioning) -> Tensor:
        """The noise estimate of each row, under guidance, float32."""
        weights = next(self.model.parameters(), state).dtype
        told = self.grid.timesteps.to(state.device)[place]
        own = self._cast(conditioning, state.device, weights)
        predicted = self.denoise(self.model, state.to(weights), told, own).float()
        if self.guidance != 1 and self.without:
            empty = {name: value.expand(len(state), *value.shape) for name, value in self.without.items()}
            empty = self._cast(empty, state.device, weights)
            null = self.denoise(self.model, state.to(weights), told, empty).float()
            predicted = null + self.guidance * (predicted - null)
        return self.noising.to(state.device).noise_estimate(state, predicted, told.long())

    @staticmethod
    def _cast(conditioning: Conditioning, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        return {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in conditioning.items()
        }


def _like(values: Tensor, rows: Tensor) -> Tensor:
    return values.to(rows).view(-1, *[1] * (rows.dim() - 1))
