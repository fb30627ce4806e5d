"""What a policy says of the candidates of some comparisons: one log-probability for every scored position.

Letters: B comparisons, K candidates (ragged, padded to the widest), T scored positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from assent.encoding.encoded import COMPLETION, FIRST_STREAM, PROMPT
from assent.errors import InputError

__all__ = ["COMPLETION", "FIRST_STREAM", "PROMPT", "Likelihoods"]


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """Token log-probabilities of the candidates, with the sums and means that objectives ask for.

    Args:
        tokens: [T] log-probabilities in nats, float32 or wider, grouped by candidate, in order. For a diffusion
            policy the negated mean squared error of each draw.
        owner: [T] index of the candidate in the flattened [B, K]. A position scored for several candidates
            appears once for each.
        shape: (B, K).
        mask: [B, K] which candidates exist.
        segment: [T] 0 completion, 1 prompt, 2.. streams or marked spans; None means all 0.
        statistics: per-token numbers that the head computed because an objective's needs name them, each [T].
    """

    tokens: Tensor
    owner: Tensor
    shape: tuple[int, int]
    mask: Tensor
    segment: Tensor | None = None
    statistics: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def sum(self) -> Tensor:
        """[B, K] log-probability of the completion, in nats; the prompt's tokens do not count."""
        return self.total(self.tokens, self.completion_positions)

    @cached_property
    def length(self) -> Tensor:
        """[B, K] number of scored completion positions."""
        return self.total(torch.ones_like(self.tokens), self.completion_positions)

    @cached_property
    def mean(self) -> Tensor:
        """[B, K] log-probability per completion position; 0 for a candidate without any."""
        return self.sum / self.length.clamp(min=1)

    @cached_property
    def joint(self) -> Tensor:
        """[B, K] log-probability of prompt and completion together, in nats."""
        return self.total(self.tokens)

    @cached_property
    def position(self) -> Tensor:
        """[T] how many completion positions of the same candidate come before each position."""
        counted = torch.ones_like(self.owner)
        if self.completion_positions is not None:
            counted = self.completion_positions.long()
        before = counted.cumsum(0) - counted
        starts = torch.ones_like(self.owner, dtype=torch.bool)
        starts[1:] = self.owner[1:] != self.owner[:-1]
        return before - before[starts][starts.cumsum(0) - 1]

    def statistic(self, name: str) -> Tensor:
        """[T] a per-token statistic; an error where the policy did not compute it."""
        if name not in self.statistics:
            raise InputError(
                f"the objective reads the per-token statistic `{name}`, which this policy did not compute",
                found=", ".join(self.statistics) or "none",
                remedy="Use a policy that computes it, or another objective",
            )
        return self.statistics[name]

    @property
    def completion_positions(self) -> Tensor | None:
        """[T] which positions belong to a completion; None: all of them."""
        return None if self.segment is None else self.segment != PROMPT

    def total(self, values: Tensor, positions: Tensor | None = None) -> Tensor:
        """[B, K] sums of per-token values ([T]) over each candidate, at the given positions."""
        if positions is not None:
            values = torch.where(positions, values, torch.zeros_like(values))
        flat = values.new_zeros(self.shape[0] * self.shape[1]).index_add(0, self.owner, values)
        summed = flat.view(self.shape)
        return torch.where(self.mask, summed, torch.zeros_like(summed))

    def detach(self) -> Likelihoods:
        """The same numbers without their graph."""
        return replace(
            self,
            tokens=self.tokens.detach(),
            statistics={name: value.detach() for name, value in self.statistics.items()},
        )

    def widened(self) -> Likelihoods:
        """The same numbers in float32 or wider."""
        if self.tokens.dtype not in (torch.float16, torch.bfloat16):
            return self
        statistics = {name: values.float() for name, values in self.statistics.items()}
        return replace(self, tokens=self.tokens.float(), statistics=statistics)

    def columns(self, order: Tensor) -> Likelihoods:
        """The candidates of each comparison in another order ([B, K] source column of each new column)."""
        batch, width = self.shape
        offsets = torch.arange(batch, device=order.device).unsqueeze(1) * width
        inverse = torch.empty_like(order).scatter_(
            1, order, torch.arange(width, device=order.device).expand_as(order)
        )
        return replace(self, owner=(inverse + offsets).flatten()[self.owner], mask=self.mask.gather(1, order))

    @classmethod
    def from_sums(cls, sums: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Likelihoods:
        """Likelihoods with the given [B, K] sums, spread evenly over the given lengths (default: one position)."""
        if mask is None:
            mask = torch.ones_like(sums, dtype=torch.bool)
        counts = torch.ones_like(sums, dtype=torch.long) if lengths is None else lengths.long()
        counts = torch.where(mask, counts, torch.zeros_like(counts)).flatten()
        owner = torch.repeat_interleave(torch.arange(counts.numel(), device=sums.device), counts)
        tokens = (sums.flatten() / counts.clamp(min=1))[owner]
        return cls(tokens, owner, (sums.shape[0], sums.shape[1]), mask)
