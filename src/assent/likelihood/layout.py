"""Where the scored positions of comparisons are, in the order that every policy gives them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.encoding import UNSCORED, EncodedCandidate, EncodedComparison


def layout(comparisons: Sequence[EncodedComparison]) -> tuple[Tensor, Tensor, Tensor]:
    """(owner [T], segment [T], mask [B, K]) of the comparisons' scored positions, as every policy orders them."""
    width = max(len(comparison.candidates) for comparison in comparisons)
    owners: list[int] = []
    segments: list[int] = []
    mask = torch.zeros(len(comparisons), width, dtype=torch.bool)
    for index, comparison in enumerate(comparisons):
        for column, candidate in enumerate(comparison.candidates):
            mask[index, column] = True
            scored = [segment for segment in candidate.segments[1:] if segment != UNSCORED]
            segments += scored
            owners += [index * width + column] * len(scored)
    return torch.tensor(owners, dtype=torch.long), torch.tensor(segments, dtype=torch.long), mask


def scored_positions(candidate: EncodedCandidate) -> int:
    """How many positions a policy scores: all but position 0, which nothing predicts."""
    return candidate.scored - (candidate.segments[:1] not in ((), (UNSCORED,)))
