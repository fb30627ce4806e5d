"""Scores comparisons with models that read tokens: reward policies, and policies as implicit reward models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from assent.comparison import Comparison
from assent.encoding import CausalEncoder, EncodedComparison
from assent.errors import InputError
from assent.likelihood import Likelihoods
from assent.likelihood.policy import Policy
from assent.preference_models.context_aware import ContextAware, with_context
from assent.preference_models.frozen import scored_rows
from assent.preference_models.model import Embedded
from assent.preference_models.reward_policy import RewardPolicy
from assent.preference_models.scoring import Scored

Implicit = Literal["sum", "average", "norm"]


class BackboneScorer:
    """A reward policy as a scorer.

    Args:
        policy: backbone and head.
        encoder: comparisons to tokens, as in training.
        batch_tokens: tokens in one forward pass; scores do not depend on it.
        name: how the scores are called.
    """

    def __init__(
        self, policy: RewardPolicy, encoder: CausalEncoder, batch_tokens: int = 16384, name: str = "preference_model"
    ) -> None:
        self.policy, self.encoder, self.batch_tokens, self.name = policy.eval(), encoder, batch_tokens, name

    @torch.no_grad()
    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """One result for each comparison, in order."""
        head = self.policy.head
        if isinstance(head, ContextAware):
            comparisons = [with_context(comparison, head.template) for comparison in comparisons]
        encoded = encoded_all(self.encoder, comparisons)
        results: list[Scored | None] = [None] * len(comparisons)
        known = set(getattr(head, "annotators", ()))
        for rows in batches(encoded, self.policy.cost, self.batch_tokens):
            part = [encoded[row] for row in rows]
            embedded = self.policy.embed(on_device(self.policy.collate(part), self.policy))
            names = [one.annotator if one.annotator in known else None for one in part]
            order = record_order([comparisons[row] for row in rows], embedded.mask)
            counts = [len(one.candidates) for one in part]
            for row, scored in zip(rows, scored_rows(head, _reordered(embedded, order), names, counts), strict=True):
                results[row] = scored
        return [result for result in results if result is not None]


class ImplicitScorer:
    """A policy and its reference as a preference model: r = beta (log policy - log reference), in nats.

    Source: Rafailov et al. 2023, eq. 5. Without a reference: the mean log-probability of a token (`average`, as
    RewardBench does by default), the sum, or minus the length of the vector of log-probabilities (`norm`).

    Args:
        policy: likelihoods of candidates.
        encoder: comparisons to tokens.
        reference: likelihoods under the reference, or None.
        beta: scale of the reward; accuracy does not depend on it, calibration does.
        free: what counts without a reference.
    """

    def __init__(
        self,
        policy: Policy,
        encoder: CausalEncoder,
        reference: Policy | None = None,
        beta: float = 1.0,
        free: Implicit = "average",
        batch_tokens: int = 16384,
        name: str = "implicit_reward",
    ) -> None:
        if beta <= 0:
            raise InputError("beta is positive", field="beta", found=str(beta))
        if free not in ("sum", "average", "norm"):
            raise InputError("unknown reward without reference", found=repr(free), expected="sum, average or norm")
        self.policy, self.encoder, self.reference = policy.eval(), encoder, reference
        if reference is not None:
            reference.eval()
        self.beta, self.free, self.batch_tokens, self.name = beta, free, batch_tokens, name

    @torch.no_grad()
    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """One result for each comparison, in order; log-probabilities stand beside the reward."""
        encoded = encoded_all(self.encoder, comparisons)
        results: list[Scored | None] = [None] * len(comparisons)
        for rows in batches(encoded, self.policy.cost, self.batch_tokens):
            part = [encoded[row] for row in rows]
            own = self.policy(on_device(self.policy.collate(part), self.policy))
            dimensions = {"log_probability": own.sum, "tokens": own.length}
            if self.reference is None:
                reward = reference_free(own, self.free)
            else:
                theirs = self.reference(on_device(self.reference.collate(part), self.reference))
                reward = self.beta * (own.sum - theirs.sum)
                dimensions["reference_log_probability"] = theirs.sum
            order = record_order([comparisons[row] for row in rows], own.mask)
            table = {
                name: value.gather(1, order).tolist() for name, value in {"reward": reward, **dimensions}.items()
            }
            for index, row in enumerate(rows):
                count = len(part[index].candidates)
                results[row] = Scored(
                    rewards=tuple(table["reward"][index][:count]),
                    dimensions={name: tuple(table[name][index][:count]) for name in dimensions},
                )
        return [result for result in results if result is not None]


def reference_free(own: Likelihoods, rule: Implicit) -> Tensor:
    """Returns [B, K] a reward of log-probabilities alone."""
    if rule == "average":
        return own.mean
    return own.sum if rule == "sum" else -own.total(own.tokens.square(), own.completion_positions).sqrt()


def encoded_all(encoder: CausalEncoder, comparisons: Sequence[Comparison]) -> list[EncodedComparison]:
    """The encoded comparisons, every one of them; raises where the encoder would leave one out."""
    encoded, report = encoder.encode_all(comparisons)
    if len(encoded) != len(comparisons):
        first = report.dropped[0]
        raise InputError(
            "a comparison cannot be scored",
            where=str(first.record)[:12] if hasattr(first, "record") else None,
            found=str(first),
            remedy="Raise the length bound, or cut prompts (`--truncate prompt_left`)",
        )
    return encoded


def batches(
    encoded: Sequence[EncodedComparison], cost: Callable[[EncodedComparison], int], budget: int
) -> Iterator[list[int]]:
    """Row indices in batches under a token budget, alike in length so that padding is small."""
    costs = [cost(one) for one in encoded]
    batch: list[int] = []
    total = 0
    for row in sorted(range(len(encoded)), key=lambda row: (costs[row], row)):
        if batch and total + costs[row] > budget:
            yield batch
            batch, total = [], 0
        batch.append(row)
        total += costs[row]
    if batch:
        yield batch


def record_order(comparisons: Sequence[Comparison], mask: Tensor) -> Tensor:
    """[B, K] the column in which each of the record's candidates stands; encoded candidates are best first."""
    rows = []
    for comparison in comparisons:
        columns = {id(candidate): column for column, candidate in enumerate(comparison.ordered())}
        row = [columns[id(candidate)] for candidate in comparison.candidates]
        rows.append([*row, *range(len(row), mask.shape[1])])
    return torch.tensor(rows, device=mask.device)


def on_device(batch: Any, policy: Policy) -> dict[str, Any]:
    """The batch where the policy's weights are."""
    device = next(policy.parameters()).device
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _reordered(embedded: Embedded, order: Tensor) -> Embedded:
    def moved(values: Tensor) -> Tensor:
        return values.gather(1, order.unsqueeze(-1).expand(-1, -1, values.shape[-1]))

    return Embedded(moved(embedded.values), moved(embedded.features), embedded.prompt_features, embedded.mask)
