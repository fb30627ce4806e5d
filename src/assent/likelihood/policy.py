"""The contract of every policy: it cuts encoded comparisons into a batch and scores it.

A policy wraps a model, so that head and loss positions run inside the wrapped module's `forward` and engines
(DDP, FSDP) see every parameter used there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from assent.encoding import EncodedComparison
from assent.likelihood.likelihoods import Likelihoods

Batch = Mapping[str, Tensor | Any]
"""Model inputs of one micro-batch; tensors move to the device, everything else is kept as it is."""


class Policy(nn.Module):
    """A model that turns candidates into log-likelihoods; subclasses name the modality.

    Args:
        model: the wrapped model (transformers, diffusers, PEFT-wrapped or not).
    """

    scores_candidates_apart = False
    """Whether a candidate's numbers are the same without the other candidates of its comparison."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def begin_step(self, seed: int, step: int) -> None:
        """Told by the trainer before each optimizer step: what a policy draws (noise, timesteps) depends on these
        two and the record's id alone, so that it is the same for every cut of the step and after a resume."""

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        """The model inputs of a micro-batch of whole comparisons."""
        raise NotImplementedError

    def cost(self, comparison: EncodedComparison) -> int:
        """How many tokens the comparison takes of the micro-batch's budget."""
        raise NotImplementedError

    def forward(self, batch: Batch, statistics: tuple[str, ...] = ()) -> Likelihoods:
        """Likelihoods [B, K] of the comparisons that were collated."""
        raise NotImplementedError


class Reference(Protocol):
    """Something that knows the reference's likelihoods: a frozen copy, the adapter switched off, or a store."""

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """Likelihoods of the comparisons, in the same layout as the policy's, without graph."""
