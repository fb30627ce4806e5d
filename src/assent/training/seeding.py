"""How the loss of a whole step is handed to its micro-batches: the derivative of each comparison's numbers.

Letters: B comparisons of the step, K candidates of the widest, T scored positions of one comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assent.encoding import EncodedComparison
from assent.likelihood import Likelihoods


@dataclass(frozen=True)
class Seed:
    """The loss's derivative with respect to what one comparison's forward pass returns.

    Args:
        tokens: [T] by the tokens' log-probabilities.
        statistics: [T] by each statistic.
        counts: K numbers of tokens, candidate by candidate.
    """

    tokens: Tensor
    statistics: dict[str, Tensor]
    counts: tuple[int, ...]


def seeds_of(total: Tensor, leaves: Sequence[Tensor], policy: Likelihoods) -> list[Seed]:
    """The seed of each comparison, from the loss of the step and the leaves it was computed from.

    Args:
        total: the step's loss.
        leaves: the tokens and statistics of `policy`, in order.
        policy: the whole step's likelihoods.
    """
    if total.requires_grad:
        found: Sequence[Tensor | None] = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
    else:
        found = [None] * len(leaves)
    gradients = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(found, leaves, strict=True)]
    rows, width = policy.shape
    counts = torch.bincount(policy.owner, minlength=rows * width).reshape(rows, width)
    tokens, *others = [gradient.split(counts.sum(dim=1).tolist()) for gradient in gradients]
    return [
        Seed(
            tokens[row], {name: other[row] for name, other in zip(policy.statistics, others, strict=True)}, tuple(own)
        )
        for row, own in enumerate(counts.tolist())
    ]


def without_idle(comparison: EncodedComparison, seed: Seed) -> tuple[EncodedComparison, Seed] | None:
    """The comparison and its seed without the candidates whose derivatives are all zero; None where none is left.

    Answers that a loss only measures (KTO's reference point) were scored in the first phase and have no gradient:
    nothing of them is needed in the second. Only for policies that score each candidate by itself.
    """
    parts = [tensor.split(seed.counts) for tensor in (seed.tokens, *seed.statistics.values())]
    kept = [at for at in range(len(comparison.candidates)) if any(bool(part[at].any()) for part in parts)]
    if len(kept) == len(comparison.candidates):
        return comparison, seed
    if not kept:
        return None
    tokens, *others = [torch.cat([part[at] for at in kept]) for part in parts]
    statistics = dict(zip(seed.statistics, others, strict=True))
    return _only(comparison, kept), Seed(tokens, statistics, tuple(seed.counts[at] for at in kept))


def _only(comparison: EncodedComparison, kept: Sequence[int]) -> EncodedComparison:
    return replace(
        comparison,
        candidates=tuple(comparison.candidates[at] for at in kept),
        scores=tuple(comparison.scores[at] for at in kept),
        labels=tuple(comparison.labels[at] for at in kept),
        roles=tuple(comparison.roles[at] for at in kept),
        dimensions={name: tuple(values[at] for at in kept) for name, values in comparison.dimensions.items()},
    )
