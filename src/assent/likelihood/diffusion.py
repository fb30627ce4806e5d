"""Diffusion models as policies: the log-likelihood of an image is its negated denoising error.

Source: Wallace et al. 2023, arXiv 2311.12908, section 4: the bound on log p(x0 | c) is a weighted mean of

    -|f(x_t, t, c) - y|^2 / D        (mean over the D elements, float32)

over draws of a timestep t and noise e. Here `tokens` holds one such number for each draw, without 1/2 (beta/2 belongs
to the objective) and weighted as `weighting` says, by default not at all; losses use the mean over draws. All
candidates of a comparison share t and e of each draw, and so do policy and reference, without which the margin would
be noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from assent.encoding import EncodedComparison
from assent.encoding.diffusion import LATENTS as LATENTS
from assent.encoding.diffusion import VARIANTS
from assent.errors import InputError
from assent.likelihood.denoisers import Conditioning, denoiser_for
from assent.likelihood.likelihoods import Likelihoods
from assent.likelihood.noising import Noising
from assent.likelihood.policy import Batch, Policy
from assent.likelihood.weighting import Weighting

NOISY, TARGET = "noisy", "target"
"""Entries of a batch whose noisy latents and targets are given instead of drawn."""
LOG_SNR, WINNER_RESIDUAL = "log_snr", "winner_residual"
"""Statistics: log of signal over noise power; and w^2 <r, r_first> / D, where r is the row's residual (prediction
minus target), r_first that of its comparison's first candidate under the same draw, and w the level's weight."""


ROW_KEYS = "row_keys"
"""Entry of a batch, where asked for: a hash of all that the network is shown, for each row."""


@dataclass(frozen=True)
class Draws:
    """Which timesteps and noise each comparison is scored with.

    Args:
        kind: "fresh" draws anew in every step; "fixed" gives a record the same draws for ever, so that a
            reference can be stored.
        count: draws for each comparison.
        seed: of fixed draws.
        timesteps: that are drawn from, for models distilled to a few; None: those of the model's training.
    """

    kind: Literal["fresh", "fixed"] = "fresh"
    count: int = 1
    seed: int = 0
    timesteps: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError("a comparison needs at least one draw", field="noise", found=str(self.count))
        if self.timesteps is not None and not self.timesteps:
            raise InputError("no timestep to draw from", field="diffusion.timesteps", remedy="Leave it out")

    def levels(self, noising: Noising, generator: torch.Generator) -> Tensor:
        """[count] indices of noise levels."""
        if self.timesteps is None:
            return noising.draw(self.count, generator)
        told = torch.tensor(self.timesteps, dtype=noising.timesteps.dtype)
        nearest = (noising.timesteps[None] - told[:, None]).abs().argmin(dim=1)
        return nearest[torch.randint(0, len(nearest), (self.count,), generator=generator)]


@dataclass(frozen=True)
class EmptyPrompts:
    """How often a comparison is trained under an empty prompt, all its candidates together.

    Args:
        share: of the comparisons of a step; which ones depends on (seed, step, record).
        conditioning: what the prompt encoder makes of an empty prompt.
    """

    share: float
    conditioning: Conditioning


class DiffusionPolicy(Policy):
    """Scores each candidate by its denoising error under shared draws.

    Args:
        model: the denoising network, of a family that `denoisers` knows.
        noising: the noise levels it was trained with.
        draws: which timesteps and noise.
        weighting: of the errors by noise level.
    """

    empty: EmptyPrompts | None = None
    """Set by whoever trains a model that is to keep following guidance; held-out steps never empty a prompt."""
    names_rows = False
    """Whether batches name their rows, for a store of reference errors."""

    def __init__(
        self, model: nn.Module, noising: Noising, draws: Draws | None = None, weighting: Weighting | None = None
    ) -> None:
        super().__init__(model)
        self.noising = noising
        self.draws = Draws() if draws is None else draws
        self.weighting = Weighting() if weighting is None else weighting
        self.denoise = denoiser_for(model)
        self._step = (0, 0)

    def around(self, model: nn.Module) -> DiffusionPolicy:
        """Another network scored on the same draws."""
        return DiffusionPolicy(model, self.noising, self.draws, self.weighting)

    def begin_step(self, seed: int, step: int) -> None:
        """Fresh draws depend on this and the record's id."""
        self._step = (seed, step)

    def cost(self, comparison: EncodedComparison) -> int:
        """Rows that the network sees."""
        return len(comparison.candidates) * self.draws.count

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        """Rows by comparison, candidate and draw, with their noise, noise level and conditioning."""
        width = max(len(comparison.candidates) for comparison in comparisons)
        mask = torch.zeros(len(comparisons), width, dtype=torch.bool)
        latents: list[Tensor] = []
        noise, index = [], []
        owner: list[int] = []
        first: list[int] = []
        conditioning: dict[str, list[Tensor]] = {}
        for place, comparison in enumerate(comparisons):
            shape = comparison.candidates[0].media[LATENTS].shape
            levels, noises = self.drawn(comparison.id, shape)
            start = len(latents)
            emptied = self._emptied(comparison)
            for column, candidate in enumerate(comparison.candidates):
                clean = self._variant(candidate.media, comparison.id)
                if clean.shape != shape:
                    raise InputError(
                        "the images of a comparison must have one size, since they share their noise",
                        where=comparison.id,
                        found=f"{tuple(clean.shape)} beside {tuple(shape)}",
                        remedy="Encode with a fixed resolution",
                    )
                mask[place, column] = True
                latents += [clean] * self.draws.count
                noise.append(noises)
                index.append(levels)
                first += range(start, start + self.draws.count)
                owner += [place * width + column] * self.draws.count
                for name, value in {**candidate.media, **emptied}.items():
                    if name not in (LATENTS, VARIANTS):
                        conditioning.setdefault(name, []).extend([value] * self.draws.count)
        batch = {
            LATENTS: torch.stack(latents),
            "noise": torch.cat(noise),
            "index": torch.cat(index),
            "owner": torch.tensor(owner),
            "first": torch.tensor(first),
            "mask": mask,
            "conditioning": {name: torch.stack(values) for name, values in conditioning.items()},
        }
        return {**batch, ROW_KEYS: row_keys(batch)} if self.names_rows else batch

    def drawn(self, record: str, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """The draws of a record: indices of noise levels [n] and noise [n, ...]."""
        origin = ("fixed", self.draws.seed) if self.draws.kind == "fixed" else ("fresh", *self._step)
        digest = hashlib.sha256(repr((origin, record)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
        levels = self.draws.levels(self.noising, generator)
        return levels, torch.randn(self.draws.count, *shape, generator=generator)

    def _variant(self, media: Mapping[str, Tensor], record: str) -> Tensor:
        """One of the latents that are kept of a picture, the same for all pictures of the record in this step."""
        if VARIANTS not in media or self._step[1] < 0 or self.draws.kind == "fixed":
            return media[LATENTS]
        digest = hashlib.sha256(repr(("variant", *self._step, record)).encode()).digest()
        chosen = int.from_bytes(digest[:8], "big") % (len(media[VARIANTS]) + 1)
        return media[LATENTS] if chosen == 0 else media[VARIANTS][chosen - 1]

    def _emptied(self, comparison: EncodedComparison) -> Conditioning:
        """The empty prompt's conditioning where this step trains the comparison under it, else nothing."""
        if self.empty is None or not self.empty.share or self._step[1] < 0:
            return {}
        # Where prompts are what is compared, an empty one would leave nothing to learn from.
        if len({candidate.media_keys[-1:] for candidate in comparison.candidates}) > 1:
            return {}
        digest = hashlib.sha256(repr(("empty", *self._step, comparison.id)).encode()).digest()
        return self.empty.conditioning if int.from_bytes(digest[:8], "big") < self.empty.share * 2**64 else {}

    def forward(self, batch: Batch, statistics: tuple[str, ...] = ()) -> Likelihoods:
        """Negated, weighted mean squared errors, [T] in float32 or wider, one for each candidate and draw."""
        predicted, target = self.predict(batch)
        dtype = torch.promote_types(predicted.dtype, torch.float32)
        residual = (predicted.to(dtype) - target.to(dtype)).flatten(1)
        weight = self.weighting.factor(self.noising.to(residual.device), batch["index"]).to(dtype)
        mask = batch["mask"]
        return Likelihoods(
            -weight * residual.pow(2).mean(dim=1),
            batch["owner"],
            (mask.shape[0], mask.shape[1]),
            mask,
            statistics=self._statistics(batch, statistics, residual.detach() * weight[:, None]),
        )

    def predict(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The network's prediction and its target for every row of the batch."""
        noising = self.noising.to(batch[LATENTS].device)
        clean, noise, index = batch[LATENTS], batch["noise"].to(batch[LATENTS]), batch["index"]
        noisy = batch[NOISY] if NOISY in batch else noising.noisy(clean, noise, index)
        target = batch[TARGET] if TARGET in batch else noising.target(clean, noise, index)
        # Half-precision weights take half-precision inputs; the error is taken in float32 or wider all the same.
        weights = next(self.model.parameters(), noisy).dtype
        told: Conditioning = batch["conditioning"]  # type: ignore[assignment]
        conditioning = {
            name: value.to(noisy.device, weights if value.is_floating_point() else None)
            for name, value in told.items()
        }
        predicted = self.denoise(self.model, noisy.to(weights), noising.timesteps[index], conditioning)
        return predicted, target

    def _statistics(self, batch: Batch, names: tuple[str, ...], residual: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name in names:
            if name == LOG_SNR:
                found[name] = self.noising.to(batch["index"].device).log_snr(batch["index"])
            elif name == WINNER_RESIDUAL:
                found[name] = (residual * residual[batch["first"]]).mean(dim=1)
            else:
                raise InputError("a diffusion policy has no such statistic", field="statistics", found=name)
        return found


def row_keys(batch: Batch) -> list[str]:
    """A hash of all that the network is shown, for each row of a collated batch."""
    shown = {name: batch[name] for name in (LATENTS, "noise", "index")} | dict(batch["conditioning"])
    keys = []
    for row in range(len(batch[LATENTS])):
        digest = hashlib.sha256()
        for name, values in sorted(shown.items()):
            value = values[row].detach().cpu().contiguous()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.view(-1).view(torch.uint8).numpy().tobytes())
        keys.append(digest.hexdigest())
    return keys
