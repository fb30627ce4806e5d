"""Log-probabilities of texts under a policy, in batches under a token budget and without a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from assent.comparison import content_key
from assent.encoding import COMPLETION, UNSCORED, EncodedCandidate, EncodedComparison
from assent.encoding.packing import cut
from assent.likelihood.policy import Policy

SCORING_TOKENS = 8192
"""Tokens of one forward pass; without a graph this is small beside training."""


def completion_log_probs(
    policy: Policy, comparisons: Sequence[EncodedComparison], max_tokens: int = SCORING_TOKENS
) -> list[Tensor]:
    """The log-probability of each candidate's completion, in nats: for every comparison a [K] on the CPU."""
    found: list[Tensor] = [torch.empty(0)] * len(comparisons)
    device = next(policy.parameters()).device
    training = policy.training
    policy.eval()
    try:
        for batch in cut([policy.cost(comparison) for comparison in comparisons], max_tokens):
            chosen = [comparisons[index] for index in batch]
            with torch.no_grad():
                sums = policy(_on(policy.collate(chosen), device)).sum.cpu()
            for row, index in enumerate(batch):
                found[index] = sums[row, : len(comparisons[index].candidates)]
    finally:
        policy.train(training)
    return found


def sampled(prompt_ids: Sequence[int], samples: Sequence[Sequence[int]]) -> EncodedComparison:
    """The samples of one prompt, exactly the tokens that were drawn, as unjudged candidates.

    Text that is decoded and tokenised again need not give the same tokens, so sampled ids are never taken through it.
    """
    prompt = tuple(prompt_ids)
    candidates = tuple(
        EncodedCandidate(
            prompt + tuple(ids), (UNSCORED,) * len(prompt) + (COMPLETION,) * len(ids), prompt_length=len(prompt)
        )
        for ids in samples
    )
    count = len(candidates)
    return EncodedComparison(
        id=content_key([candidate.key for candidate in candidates]),
        candidates=candidates,
        scores=(float("nan"),) * count,
        labels=(-1,) * count,
        roles=(None,) * count,
    )


def _on(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
