"""Which comparisons make up an optimizer step: a pure function of (seed, epoch, step), the same on every rank.

Letters: N comparisons, S sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from assent.errors import InputError

StepKey = tuple[int, int]
"""(epoch, step of the epoch): all that a step's content depends on, besides the seed."""


@dataclass(frozen=True)
class StepOrder:
    """The order in which comparisons are drawn.

    Without weights an epoch is a permutation of all comparisons. With weights it has as many, a share of each
    source in proportion to the weights: small sources come again within an epoch, of large ones the next epoch
    goes on where the last one stopped, so that nothing comes twice before everything came once.

    Args:
        sizes: comparisons of each source; they stand one source after the other.
        per_step: comparisons of an optimizer step, over all ranks.
        seed: of the draw.
        weights: of the sources, or None.
        drop_last: leave out a last step that is short.
    """

    sizes: tuple[int, ...]
    per_step: int
    seed: int
    weights: tuple[float, ...] | None = None
    drop_last: bool = False

    def __post_init__(self) -> None:
        if not sum(self.sizes):
            raise InputError("there is nothing to train on", found="0 comparisons")
        if self.weights is not None and len(self.weights) != len(self.sizes):
            raise ValueError(f"{len(self.sizes)} sources and {len(self.weights)} weights")
        if not len(self):
            raise InputError(
                "an epoch has no full step",
                field="training.dataloader_drop_last",
                found=f"{sum(self.sizes)} comparisons, {self.per_step} per step",
                remedy="Make the step smaller, or leave dataloader_drop_last out",
            )

    def __len__(self) -> int:
        """Optimizer steps of an epoch."""
        total = sum(self.sizes)
        return total // self.per_step if self.drop_last else -(-total // self.per_step)

    def step(self, epoch: int, index: int) -> list[int]:
        """The comparisons of a step, in the order drawn."""
        return self._epoch(epoch)[index * self.per_step : (index + 1) * self.per_step]

    def _epoch(self, epoch: int) -> list[int]:
        cached = self.__dict__.get("_drawn")
        if cached is None or cached[0] != epoch:
            cached = (epoch, self._draw(epoch))
            object.__setattr__(self, "_drawn", cached)
        return cached[1]

    def _draw(self, epoch: int) -> list[int]:
        total = sum(self.sizes)
        if self.weights is None:
            return _permutation(total, self.seed, epoch, 0)
        drawn: list[int] = []
        start = 0
        for source, (size, share) in enumerate(zip(self.sizes, self._shares(), strict=True)):
            first = epoch * share
            passes = {at // size for at in range(first, first + share)} if size else set()
            orders = {number: _permutation(size, self.seed, number, source + 1) for number in sorted(passes)}
            drawn += [start + orders[at // size][at % size] for at in range(first, first + share)] if size else []
            start += size
        return [drawn[at] for at in _permutation(len(drawn), self.seed, epoch, 0)]

    def _shares(self) -> list[int]:
        """How many comparisons of an epoch come from each source; largest remainders, so that they sum up."""
        assert self.weights is not None
        weights = [weight if size else 0.0 for size, weight in zip(self.sizes, self.weights, strict=True)]
        total = sum(self.sizes)
        exact = [total * weight / sum(weights) for weight in weights]
        shares = [int(value) for value in exact]
        by_remainder = sorted(range(len(exact)), key=lambda source: (shares[source] - exact[source], source))
        for source in by_remainder[: total - sum(shares)]:
            shares[source] += 1
        return shares


def _permutation(size: int, seed: int, epoch: int, stream: int) -> list[int]:
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch, stream))
    order: list[int] = torch.randperm(size, generator=generator).tolist()
    return order


def mixed_seed(*numbers: int) -> int:
    """One 63-bit seed of several numbers, so that neighbouring seeds and steps share no draws (splitmix64)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ state >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class StepKeys:
    """A batch sampler that yields the keys of an epoch's steps; what is in a step is decided where it is read.

    It asks which epoch it is each time it starts, so that nothing has to tell it, and skipping its keys (as a
    resumed run does) costs nothing.
    """

    def __init__(self, order: StepOrder, epoch: Callable[[], int]) -> None:
        self.order = order
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[list[StepKey]]:
        epoch = self.epoch()
        for index in range(len(self.order)):
            yield [(epoch, index)]


class StepContents:
    """The data set behind the keys: `contents[(epoch, step)]` is what `make` makes of the step's comparisons."""

    def __init__(
        self, comparisons: Sequence[Any], order: StepOrder, make: Callable[[list[Any], int, int], dict[str, Any]]
    ) -> None:
        self.comparisons = comparisons
        self.order = order
        self.make = make

    def __len__(self) -> int:
        """Comparisons of an epoch, which is what the Trainer reports as examples."""
        return sum(self.order.sizes)

    def __getitem__(self, key: StepKey) -> dict[str, Any]:
        epoch, index = key
        return self.make([self.comparisons[at] for at in self.order.step(epoch, index)], epoch, index)


def only(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """The one element of a batch: a whole step."""
    (step,) = batch
    return step
