"""Token rows of encoded comparisons, and where in them each scored token is read.

Two layouts with the same bookkeeping: one packed row in which common prefixes stand once, or one padded row per
candidate for models that cannot share. Only what has to be read is laid out: nothing after the last scored
token's predecessor.

Letters: R rows, L row length, T scored positions, U different ones among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from assent.encoding import UNSCORED, EncodedCandidate, EncodedComparison
from assent.likelihood.attention import Spans
from assent.likelihood.policy import Batch
from assent.likelihood.shared_prefix import pack, shared_length

Indices = np.ndarray[Any, np.dtype[np.int64]]


def needed_tokens(candidate: EncodedCandidate) -> tuple[int, ...]:
    """The ids that must be read to score a candidate: those before its last scored one (at least one)."""
    last = next((at for at in range(len(candidate.ids) - 1, 0, -1) if candidate.segments[at] != UNSCORED), 1)
    return candidate.ids[:last]


def packed_cost(comparison: EncodedComparison) -> int:
    """Tokens of a comparison's spans."""
    return shared_length([needed_tokens(candidate) for candidate in comparison.candidates])


def padded_cost(comparison: EncodedComparison) -> int:
    """Tokens of a comparison's rows, padded to the longest."""
    lengths = [len(needed_tokens(candidate)) for candidate in comparison.candidates]
    return len(lengths) * max(lengths)


def packed_batch(comparisons: Sequence[EncodedComparison]) -> Batch:
    """One row for all comparisons: `input_ids`, `position_ids` [1, L], `spans`, and the scored positions."""
    row = pack([[needed_tokens(candidate) for candidate in comparison.candidates] for comparison in comparisons])
    places = [np.asarray(place, dtype=np.int64) for group in row.places for place in group]
    return {
        "input_ids": torch.tensor([row.ids]),
        "position_ids": torch.tensor([row.positions]),
        "spans": Spans(row.spans),
        **_scored(comparisons, places),
    }


def padded_batch(comparisons: Sequence[EncodedComparison]) -> Batch:
    """A row for each candidate, right-padded: `input_ids`, `attention_mask` [R, L], and the scored positions."""
    rows = [needed_tokens(candidate) for comparison in comparisons for candidate in comparison.candidates]
    longest = max(map(len, rows))
    places = [np.arange(len(row), dtype=np.int64) + index * longest for index, row in enumerate(rows)]
    return {
        "input_ids": torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
        **_scored(comparisons, places),
    }


def _scored(comparisons: Sequence[EncodedComparison], places: Sequence[Indices]) -> dict[str, Any]:
    """Where the scored tokens are read.

    `source` [U]: index of the hidden state, in the flattened rows; `target` [U]: the token to score there; `pick`
    [T] or None: which of them each scored position is (a position that several candidates share is scored once);
    `owner`, `segment` [T] and `mask` [B, K] as in `Likelihoods`.
    """
    width = max(len(comparison.candidates) for comparison in comparisons)
    mask = torch.zeros(len(comparisons), width, dtype=torch.bool)
    sources, targets, owners, segments = [], [], [], []
    remaining = iter(places)
    for index, comparison in enumerate(comparisons):
        mask[index, : len(comparison.candidates)] = True
        for column, candidate in enumerate(comparison.candidates):
            place, marks = next(remaining), np.asarray(candidate.segments, dtype=np.int64)
            scored = np.nonzero(marks[1:] != UNSCORED)[0]
            sources.append(place[scored])
            targets.append(np.asarray(candidate.ids, dtype=np.int64)[scored + 1])
            owners.append(np.full(len(scored), index * width + column, dtype=np.int64))
            segments.append(marks[scored + 1])
    source, target, owner, segment = map(np.concatenate, (sources, targets, owners, segments))
    pairs, pick = np.unique(np.stack([source, target]), axis=1, return_inverse=True)
    repeated = pairs.shape[1] < len(source)
    return {
        "source": torch.from_numpy(pairs[0].copy() if repeated else source),
        "target": torch.from_numpy(pairs[1].copy() if repeated else target),
        "pick": torch.from_numpy(pick.reshape(-1)) if repeated else None,
        "owner": torch.from_numpy(owner),
        "segment": torch.from_numpy(segment),
        "mask": mask,
    }
