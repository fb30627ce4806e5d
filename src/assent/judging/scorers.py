"""Judges that compute: preference models and other scorers, and a policy's own log-ratio to its reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from assent.comparison import Comparison
from assent.encoding import CausalEncoder, EncodedComparison
from assent.errors import InputError
from assent.judging.verdict import Verdict, answers_of, spread
from assent.likelihood.policy import Policy
from assent.preference_models import Scored, Scorer

WINDOW = 64


class ScorerJudge:
    """Judges with anything that scores comparisons: a reward or preference model, an implicit reward, a formula.

    Args:
        scorer: see `assent.preference_models.Scorer`.
        criterion: what goes into the records' `context`.
    """

    def __init__(self, scorer: Scorer, criterion: str = "reward") -> None:
        self.scorer = scorer
        self.criterion = criterion
        self.name = scorer.name

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts in order."""
        for start in range(0, len(comparisons), WINDOW):
            part = comparisons[start : start + WINDOW]
            for at, scored in enumerate(self.scorer.score([answers_only(comparison) for comparison in part])):
                yield start + at, verdict_of(part[at], scored)


class LogRatioScorer:
    """A policy's implicit reward beta [log pi(y|x) - log pi_ref(y|x)], summed over the answer's tokens, in nats.

    The reference is the model before any preference was learnt: against itself a policy would give 0 everywhere.
    Source: Kim et al. 2024, arXiv 2406.04412; Rafailov et al. 2023, arXiv 2305.18290, equation 5.

    Args:
        policy: the model that judges.
        reference: the model it is compared with.
        encoder: for both; they share a tokenizer.
        beta: scales rewards and confidence, never the order.
        per_token: mean over the tokens in place of the sum, so that length carries no reward.
        max_tokens: bound on the tokens of a micro-batch.
    """

    def __init__(
        self,
        policy: Policy,
        reference: Policy,
        encoder: CausalEncoder,
        *,
        beta: float = 0.1,
        per_token: bool = False,
        max_tokens: int = 16384,
    ) -> None:
        if beta <= 0:
            raise InputError("beta must be positive", field="beta", found=str(beta))
        self.policy, self.reference, self.encoder = policy, reference, encoder
        self.beta, self.per_token, self.max_tokens = beta, per_token, max_tokens
        self.name = "policy_log_ratio"

    @torch.no_grad()
    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """Rewards of all candidates, in the record's order."""
        # Without scores the encoder keeps the record's order.
        plain = [replace(one, candidates=[replace(c, score=None) for c in one.candidates]) for one in comparisons]
        encoded, report = self.encoder.encode_all(plain)
        if report.dropped:
            raise InputError(
                "a record cannot be scored",
                where=f"record {report.dropped[0].id[:12]}",
                found=report.dropped[0].reason,
                remedy="Leave it out, or raise the length bound",
            )
        scored: list[Scored] = []
        for batch in self._batches(encoded):
            ratios = self._sums(self.policy, batch) - self._sums(self.reference, batch)
            for one, row in zip(batch, ratios.tolist(), strict=True):
                scored.append(Scored(rewards=tuple(self.beta * value for value in row[: len(one.candidates)])))
        return scored

    def _sums(self, policy: Policy, batch: Sequence[EncodedComparison]) -> Tensor:
        training = policy.training
        policy.eval()
        try:
            device = next(policy.parameters()).device
            inputs = policy.collate(batch)
            moved: Mapping[str, object] = {
                name: value.to(device) if isinstance(value, Tensor) else value for name, value in inputs.items()
            }
            likelihoods = policy(moved)
        finally:
            policy.train(training)
        sums: Tensor = likelihoods.mean if self.per_token else likelihoods.sum
        return sums

    def _batches(self, encoded: Sequence[EncodedComparison]) -> Iterator[list[EncodedComparison]]:
        batch: list[EncodedComparison] = []
        spent = 0
        for one in encoded:
            cost = self.policy.cost(one)
            if batch and spent + cost > self.max_tokens:
                yield batch
                batch, spent = [], 0
            batch.append(one)
            spent += cost
        if batch:
            yield batch


def answers_only(comparison: Comparison) -> Comparison:
    """The comparison without helpers, so that a scorer's K is the number of answers."""
    return replace(comparison, candidates=[comparison.candidates[at] for at in answers_of(comparison)])


def verdict_of(comparison: Comparison, scored: Scored) -> Verdict:
    """A scorer's numbers as a verdict; what is not a number is unparsed, never a score."""
    answers = answers_of(comparison)
    values = dict(zip(answers, scored.ranking_scores(), strict=True))
    if not all(math.isfinite(value) for value in values.values()):
        return Verdict("unparsed", details={"found": [str(value) for value in values.values()]})
    dimensions = {
        name: spread(comparison, dict(zip(answers, row, strict=True))) for name, row in scored.dimensions.items()
    }
    confidence = _sigmoid(scored.gap(0, 1)) if len(answers) == 2 else None
    return Verdict("judged", spread(comparison, values), dimensions, confidence)


def _sigmoid(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))
