"""What log-ratios are taken against while training: the adapter switched off, or a frozen copy."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from assent.encoding import EncodedComparison
from assent.likelihood import Likelihoods
from assent.likelihood.policy import Batch, Policy, Reference


class FrozenReference:
    """Another policy, which stays as it is."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy.requires_grad_(False)

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """Its likelihoods, without graph."""
        with torch.no_grad():
            found: Likelihoods = self.policy(batch)
        return found


class AdapterOffReference:
    """The policy's own weights without the adapter that is trained."""

    def __init__(self, policy: Policy) -> None:
        # In a tuple, so that nobody takes the policy's weights for the reference's.
        self.policies = (policy,)

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """Likelihoods with the adapter off, without graph."""
        (policy,) = self.policies
        model: Any = policy.model
        with torch.no_grad(), model.disable_adapter():
            found: Likelihoods = policy(batch)
        return found


def start_reference(policy: Policy) -> Reference:
    """The policy as it is now: with an adapter the weights below it, else a frozen copy."""
    if hasattr(policy.model, "disable_adapter"):
        return AdapterOffReference(policy)
    return FrozenReference(copy.deepcopy(policy))
