"""Noisy latents that the current model itself would pass through on its way to an image (DDIM-InPO).

Source: Lu et al. 2025, arXiv 2503.18454, section 4, and the released code. From the clean x, over a grid of hops,

    e = f(x, k, c),  p = (x - sqrt(1 - a_from) e) / sqrt(a_from),  x <- sqrt(a_to) p + sqrt(1 - a_to) e

plus eta sqrt(v) N(0, I), v the posterior variance; then the pseudo-noise e* = (x_t - sqrt(a_t) x0) / sqrt(1 - a_t)
takes the place of the noise, which makes the forward identity exact at t. The inversion has no gradient and runs on
the policy that is trained, its adapter on; policy and reference are then scored on the same x_t and e*.

`exact` (our default) lands the last hop on t itself, and asks the network at the level that a hop leaves. `grid`
is the released code with a current diffusers: the hops stop at the last grid level below t, and the network is asked
at the level that a hop reaches. Each image of a pair is inverted on its own, so their noise differs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.likelihood.diffusion import LATENTS, NOISY, TARGET, DiffusionPolicy, Draws
from assent.likelihood.noising import Noising
from assent.likelihood.policy import Batch
from assent.likelihood.weighting import Weighting

CLEAN = -1
"""The level of a clean image."""


@dataclass(frozen=True)
class Inversion:
    """How clean images are inverted.

    Args:
        hops: levels of the grid.
        eta: how much fresh noise each hop adds.
        mode: whether the last hop lands on t itself (exact) or on the grid level below (grid).
    """

    hops: int = 10
    eta: float = 0.1
    mode: Literal["exact", "grid"] = "exact"

    def path(self, level: int, steps: int) -> list[tuple[int, int, int]]:
        """The hops to a level: (from, to, level at which the network is asked)."""
        stride = steps // self.hops
        if self.mode == "grid":
            return [(max(k - stride, 0), k, k) for k in range(1, steps, stride) if k < level]
        stops = [CLEAN, *range(stride, level, stride), level]
        return [(a, b, max(a, 0)) for a, b in itertools.pairwise(stops)]


class InvertedDiffusionPolicy(DiffusionPolicy):
    """A diffusion policy whose noisy latents are inverted from the images instead of drawn.

    Args:
        model: a network that predicts noise.
        noising: variance-preserving noise levels.
        inversion: the grid and its noise.
        draws: which timesteps; only fresh draws make sense, since the latents follow the weights.
        weighting: of the errors by noise level.
    """

    def __init__(
        self,
        model: nn.Module,
        noising: Noising,
        inversion: Inversion | None = None,
        draws: Draws | None = None,
        weighting: Weighting | None = None,
    ) -> None:
        super().__init__(model, noising, draws, weighting)
        self.inversion = Inversion() if inversion is None else inversion
        if noising.prediction != "epsilon":
            raise InputError("inversion needs a model that predicts noise", found=noising.prediction)
        if self.draws.kind == "fixed":
            raise InputError(
                "inverted latents follow the weights, so that no reference can be stored for them",
                field="noise",
                found="fixed",
                remedy="Use `noise: fresh`",
            )

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        """The rows of the policy, with the latents that the current weights invert them to."""
        batch: dict[str, Any] = dict(super().collate(comparisons))
        device = next(self.model.parameters()).device
        moved = {name: value.to(device) for name, value in batch["conditioning"].items()}
        clean, index = batch[LATENTS].to(device), batch["index"].to(device)
        batch[NOISY] = self.inverted(clean, index, moved, batch["noise"].to(device))
        signal, noise = (table.to(device)[index].view(-1, *[1] * (clean.dim() - 1)) for table in self._tables())
        batch[TARGET] = (batch[NOISY] - signal * clean) / noise
        return batch

    @torch.no_grad()
    def inverted(self, clean: Tensor, index: Tensor, conditioning: dict[str, Tensor], noise: Tensor) -> Tensor:
        """The latents of each row at its level [N]; rows with fewer hops wait for the others."""
        paths = [self.inversion.path(int(level), self.noising.steps) for level in index]
        state = clean.clone()
        for hop in range(max(map(len, paths), default=0)):
            rows = torch.tensor([i for i, path in enumerate(paths) if hop < len(path)], device=clean.device)
            start, end, asked = torch.tensor([paths[i][hop] for i in rows], device=clean.device).unbind(dim=1)
            told = {name: value[rows] for name, value in conditioning.items()}
            state[rows] = self._hop(state[rows], (start, end, asked), told, noise[rows])
        return state

    def _hop(
        self, state: Tensor, levels: tuple[Tensor, Tensor, Tensor], conditioning: dict[str, Tensor], noise: Tensor
    ) -> Tensor:
        start, end, asked = levels
        error = self.denoise(self.model, state, self.noising.timesteps.to(state.device)[asked], conditioning)
        signal_from, noise_from = self._level(start, state)
        signal_to, noise_to = self._level(end, state)
        clean = (state - noise_from * error) / signal_from
        moved = signal_to * clean + noise_to * error
        if self.inversion.eta == 0:
            return moved
        # The released code adds the variance between this level and the next one up, clamped to the table.
        stride = self.noising.steps // self.inversion.hops
        signal_next, noise_next = self._level((end + stride).clamp(max=self.noising.steps - 1), state)
        variance = noise_to**2 / noise_next**2 * (1 - signal_next**2 / signal_to**2)
        return moved + self.inversion.eta * variance.clamp(min=0).sqrt() * noise

    def _level(self, level: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of signal and noise at a level; a clean image has no noise."""
        signal, noise = (table.to(like)[level.clamp(min=0)] for table in self._tables())
        clean = level < 0
        shape = (-1, *[1] * (like.dim() - 1))
        return torch.where(clean, 1.0, signal).view(shape), torch.where(clean, 0.0, noise).view(shape)

    def _tables(self) -> tuple[Tensor, Tensor]:
        return self.noising.signal, self.noising.noise
