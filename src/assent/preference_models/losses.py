"""Pure functions that preference models share: from rewards or preference logits to losses.

Letters: B comparisons, K candidates, D dimensions. `wins[b, i, j]` is the weight with which row i is preferred
to column j: 1 or 0 for a verdict, in between for a soft one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.errors import InputError
from assent.objectives import Judged


def logistic(margin: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Returns -(1 - e) log sigmoid(d) - e log sigmoid(-d) of each margin d; e may also be a tensor.

    Source: Bradley and Terry 1952; soft labels have their minimum at d = logit(1 - e). Never log(1 + exp(-d)),
    which overflows in float32 at d = -89.
    """
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


def hinge(margin: Tensor, width: float = 1.0) -> Tensor:
    """Returns max(0, width - d) of each margin d."""
    return (width - margin).clamp(min=0)


def smooth_hinge(margin: Tensor, width: float = 1.0, smoothness: float = 5.0) -> Tensor:
    """Returns a hinge whose corner is a parabola of breadth `smoothness` (margin and loss in the same unit).

    0 for s = width - d <= 0, s^2 / (2 g) for 0 < s < g, s - g / 2 beyond.
    """
    short = (width - margin).clamp(min=0)
    return torch.where(short < smoothness, short.square() / (2 * smoothness), short - smoothness / 2)


def differences(reward: Tensor) -> Tensor:
    """Returns [B, K, K] preference logits r_i - r_j of rewards [B, K]: the Bradley-Terry model."""
    return reward.unsqueeze(-1) - reward.unsqueeze(-2)


def wins_of(judged: Judged) -> Tensor:
    """Returns [B, K, K] which judged candidate (row) has a higher score than which other (column)."""
    scores = judged.scores
    higher = scores.unsqueeze(-1) > scores.unsqueeze(-2)
    # A comparison with NaN is false, so unjudged candidates win and lose nothing.
    return higher & judged.mask.unsqueeze(-1) & judged.mask.unsqueeze(-2)


def confident_wins(judged: Judged) -> Tensor:
    """Returns [B, K, K] soft verdicts: the record's confidence where it has one, else its scores' order."""
    wins = wins_of(judged).to(judged.weight.dtype)
    if judged.confidence is None:
        return wins
    known = ~judged.confidence.isnan()
    soft = wins.clone()
    soft[:, 0, 1] = torch.where(known, judged.confidence, wins[:, 0, 1])
    soft[:, 1, 0] = torch.where(known, 1 - judged.confidence, wins[:, 1, 0])
    return soft


def score_gaps(judged: Judged) -> Tensor:
    """Returns [B, K, K] score of the row minus score of the column; 0 where one of them is not judged."""
    gaps = judged.scores.unsqueeze(-1) - judged.scores.unsqueeze(-2)
    return torch.where(gaps.isnan(), torch.zeros_like(gaps), gaps)


def mean_over_wins(losses: Tensor, wins: Tensor, judged: Judged) -> Tensor:
    """Returns [B] the mean of [B, K, K] losses over each comparison's verdicts, weighted by `wins`.

    All pairs of one list count as one comparison, so that a long list does not outweigh a pair (Ouyang et al.
    2022, section 3.4). Raises where a comparison has no verdict: a mean over nothing is no loss.
    """
    weights = wins.to(losses.dtype)
    total = weights.sum(dim=(1, 2))
    empty = (total == 0).nonzero().flatten()
    if len(empty):
        index = int(empty[0])
        raise InputError(
            "a preference model got a comparison without a verdict",
            where=f"comparison {judged.ids[index]}" if judged.ids else f"comparison {index} of the batch",
            expected="two candidates with different scores",
            remedy="Leave out ties and unjudged records, or use a pointwise model (`ordinal`)",
        )
    kept = torch.where(weights > 0, losses * weights, torch.zeros_like(losses))
    return kept.sum(dim=(1, 2)) / total


def plackett_luce(reward: Tensor, order: Tensor, judged: Tensor) -> Tensor:
    """Returns [B] -sum_i (r_i - logsumexp of what is left) of a ranking, best first.

    Source: Luce 1959, Plackett 1975.

    Args:
        reward: [B, K].
        order: [B, K] columns, best first.
        judged: [B, K] which candidates take part.
    """
    ranked, takes_part = reward.gather(1, order), judged.gather(1, order)
    # The most negative number, not -inf, whose logsumexp over nothing has no gradient.
    left = torch.where(takes_part, ranked, torch.full_like(ranked, torch.finfo(ranked.dtype).min / 2))
    remaining = left.flip(1).logcumsumexp(dim=1).flip(1)
    return torch.where(takes_part, remaining - ranked, torch.zeros_like(ranked)).sum(dim=1)


def centering(reward: Tensor, wins: Tensor, judged: Judged) -> Tensor:
    """Returns [B] the mean over verdicts of (r_i + r_j)^2, which keeps rewards near 0.

    Source: Eisenstein et al. 2023, arXiv 2312.09244. The loss over pairs alone never sees a constant.
    """
    return mean_over_wins((reward.unsqueeze(-1) + reward.unsqueeze(-2)).square(), wins, judged)


def present_squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Returns the mean of (predicted - target)^2 over the targets that are not NaN; the shape is free."""
    present = ~target.isnan()
    if not present.any():
        raise InputError("a regression without any target", expected="a score on at least one candidate")
    error = torch.where(present, predicted - target.nan_to_num(), torch.zeros_like(predicted))
    return error.square().sum() / present.sum()


def over_tokens(losses: Tensor, first: Sequence[int], end: Sequence[int], weighting: str) -> Tensor:
    """Returns [B] one loss of per-token losses [B, T], over positions first <= t < end.

    Source: Chen et al. 2024, arXiv 2406.08469. `mean`; `only_last`; `cumulative`: the n-th position counts n.
    """
    combined = []
    for row, start, stop in zip(losses, first, end, strict=True):
        part = row[start:stop]
        if len(part) == 0:
            raise InputError("no position to score", found=f"positions {start} to {stop}")
        if weighting == "mean":
            weights = torch.ones_like(part)
        elif weighting == "cumulative":
            weights = torch.arange(1, len(part) + 1, dtype=part.dtype, device=part.device)
        elif weighting == "only_last":
            part, weights = part[-1:], torch.ones_like(part[-1:])
        else:
            raise InputError(
                "unknown token weighting", found=repr(weighting), expected="mean, cumulative or only_last"
            )
        combined.append((part * weights).sum() / weights.sum())
    return torch.stack(combined)
