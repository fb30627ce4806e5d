"""What ranking losses share: masked softmaxes over ragged lists, and which pairs of a list are ordered.

Unjudged candidates, helpers and padding are outside every list. Letters: B comparisons, K candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from assent.objectives.judged import Judged

# Far below any log-probability, far above the smallest float32: e to it is an exact 0 without a NaN gradient.
OUTSIDE = -1e30


def kept(values: Tensor, mask: Tensor) -> Tensor:
    """The values where the mask is set, 0 elsewhere, with no gradient from there."""
    return torch.where(mask, values, torch.zeros_like(values))


def masked_log_softmax(values: Tensor, mask: Tensor) -> Tensor:
    """[B, K] log-softmax of the values over the masked candidates of each list; 0 outside."""
    return kept(torch.where(mask, values, torch.full_like(values, OUTSIDE)).log_softmax(dim=1), mask)


def judged_scores(batch: Judged) -> Tensor:
    """[B, K] the judge's scores, 0 where not judged."""
    return kept(batch.scores.nan_to_num(), batch.judged).to(batch.policy.tokens.dtype)


def differences(values: Tensor) -> Tensor:
    """[B, K, K] value of the row's candidate minus value of the column's."""
    return values.unsqueeze(2) - values.unsqueeze(1)


def ordered_pairs(batch: Judged) -> Tensor:
    """[B, K, K] which pairs are both judged with the row's candidate strictly better."""
    judged = batch.judged
    both = judged.unsqueeze(2) & judged.unsqueeze(1)
    return both & (differences(judged_scores(batch)) > 0)
