"""How a diffusion model's training adds noise, what it asks the network for, and how timesteps are drawn.

Sources: Ho et al. 2020, arXiv 2006.11239 (epsilon); Salimans and Ho 2022, arXiv 2202.00512 (v); Lipman et al. 2022,
arXiv 2210.02747, and Esser et al. 2024, arXiv 2403.03206 (flow matching, logit-normal timesteps).

    variance preserving   x_t = sqrt(a_t) x0 + sqrt(1 - a_t) e,  a_t the cumulative alpha, t uniform
        epsilon           target e
        v_prediction      target sqrt(a_t) e - sqrt(1 - a_t) x0
        sample            target x0
    flow matching         x_s = (1 - s) x0 + s e, target e - x0, s at index floor(sigmoid(N(0, 1)) T)

Letters: N rows, T training timesteps; images or latents [N, C, H, W] (any shape after the first works).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from assent.errors import InputError

Prediction = Literal["epsilon", "v_prediction", "sample", "flow_matching"]


@dataclass(frozen=True, eq=False)
class Noising:
    """The noise levels a model was trained with.

    Args:
        prediction: what the network predicts.
        signal: [T] factor of x0 at each index.
        noise: [T] factor of the noise.
        timesteps: [T] what the network is told at each index.
    """

    prediction: Prediction
    signal: Tensor
    noise: Tensor
    timesteps: Tensor

    @property
    def steps(self) -> int:
        """How many noise levels there are."""
        return len(self.timesteps)

    def noisy(self, clean: Tensor, noise: Tensor, index: Tensor) -> Tensor:
        """The clean rows with noise added, at the level of each row's index [N]."""
        return _like(self.signal[index], clean) * clean + _like(self.noise[index], clean) * noise

    def target(self, clean: Tensor, noise: Tensor, index: Tensor) -> Tensor:
        """What the network should predict for each row."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return clean
        if self.prediction == "flow_matching":
            return noise - clean
        return _like(self.signal[index], clean) * noise - _like(self.noise[index], clean) * clean

    def clean_estimate(self, noisy: Tensor, predicted: Tensor, index: Tensor) -> Tensor:
        """The x0 that a prediction implies for each noisy row."""
        signal, noise = _like(self.signal[index], noisy), _like(self.noise[index], noisy)
        if self.prediction == "sample":
            return predicted
        if self.prediction == "flow_matching":
            return noisy - noise * predicted
        if self.prediction == "v_prediction":
            return signal * noisy - noise * predicted
        return (noisy - noise * predicted) / signal

    def noise_estimate(self, noisy: Tensor, predicted: Tensor, index: Tensor) -> Tensor:
        """The noise that a prediction implies for each noisy row."""
        signal, noise = _like(self.signal[index], noisy), _like(self.noise[index], noisy)
        if self.prediction == "epsilon":
            return predicted
        if self.prediction == "flow_matching":
            return noisy + (1 - noise) * predicted
        if self.prediction == "v_prediction":
            return signal * predicted + noise * noisy
        return (noisy - signal * predicted) / noise

    def log_snr(self, index: Tensor) -> Tensor:
        """[N] log of signal over noise power; what weightings such as min-SNR depend on."""
        return 2 * (self.signal[index].log() - self.noise[index].log())

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """[count] indices of noise levels, as the model's kind of training draws them."""
        if self.prediction == "flow_matching":
            share = torch.randn(count, generator=generator).sigmoid()
            # The table runs from most to least noise or the other way; its index is what is logit-normal.
            return (share * self.steps).long().clamp(max=self.steps - 1)
        return torch.randint(0, self.steps, (count,), generator=generator)

    def to(self, device: torch.device | str) -> Noising:
        """The same tables on another device."""
        return Noising(self.prediction, self.signal.to(device), self.noise.to(device), self.timesteps.to(device))

    @classmethod
    def from_scheduler(cls, scheduler: Any) -> Noising:
        """The noise levels of a diffusers scheduler (any with cumulative alphas, or flow-match Euler).

        Raises:
            InputError: a scheduler or prediction that no likelihood is defined for.
        """
        name = type(scheduler).__name__
        if "FlowMatch" in name:
            sigmas = scheduler.sigmas[: scheduler.config.num_train_timesteps].float().cpu()
            return cls("flow_matching", 1 - sigmas, sigmas, (sigmas * scheduler.config.num_train_timesteps))
        alphas = getattr(scheduler, "alphas_cumprod", None)
        if alphas is None:
            raise InputError(
                "this scheduler has no training noise levels",
                field="scheduler",
                found=name,
                expected="one with alphas_cumprod, or FlowMatchEulerDiscreteScheduler",
            )
        prediction = scheduler.config.prediction_type
        if prediction not in ("epsilon", "v_prediction", "sample"):
            raise InputError("unknown prediction type", field="scheduler.prediction_type", found=repr(prediction))
        alphas = alphas.float().cpu()
        return cls(prediction, alphas.sqrt(), (1 - alphas).sqrt(), torch.arange(len(alphas)))


def _like(values: Tensor, rows: Tensor) -> Tensor:
    """[N] as [N, 1, 1, ...] in the rows' type."""
    return values.to(rows).view(-1, *[1] * (rows.dim() - 1))
