"""Answers that a loss only measures are scored once: the second phase leaves them out, the gradient stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assent.encoding import CausalEncoder, EncodedComparison
from assent.likelihood.build_policy import build_policy
from assent.likelihood.reference import start_reference
from assent.objectives import build_objective
from assent.training.engine import PlainEngine
from assent.training.mismatched import with_mismatched
from assent.training.seeding import Seed, without_idle
from assent.training.step import StepFunction
from tests.tiny import byte_tokenizer, tiny_comparisons, tiny_lm


def encoded(count: int) -> list[EncodedComparison]:
    return CausalEncoder(byte_tokenizer()).encode_all(tiny_comparisons(count, 2))[0]


def test_candidates_without_a_derivative_are_left_out() -> None:
    (comparison,) = encoded(1)
    seed = Seed(torch.tensor([0.0, 0, 0.5, -1]), {"entropy": torch.tensor([0.0, 0, 0, 2])}, (2, 2))
    found = without_idle(comparison, seed)
    assert found is not None
    kept, left = found
    assert kept.candidates == comparison.candidates[1:]
    assert kept.labels == comparison.labels[1:]
    assert left.tokens.tolist() == [0.5, -1]
    assert left.statistics["entropy"].tolist() == [0, 2]
    by_statistic = Seed(torch.zeros(4), {"entropy": torch.tensor([1.0, 0, 0, 0])}, (2, 2))
    assert without_idle(comparison, by_statistic)[0].candidates == comparison.candidates[:1]  # type: ignore[index]
    assert without_idle(comparison, Seed(torch.zeros(4), {}, (2, 2))) is None
    everything = Seed(torch.ones(4), {}, (2, 2))
    assert without_idle(comparison, everything) == (comparison, everything)


@pytest.mark.parametrize("dropout", [False, True])
def test_mismatched_answers_are_read_once_and_the_gradient_stays(dropout: bool) -> None:
    """With dropout both phases must lay out the same rows, so nothing is left out."""
    policy = build_policy(tiny_lm(dtype=torch.float64))
    steps = with_mismatched([_labelled(c, n) for n, c in enumerate(encoded(6))], 0, 0)
    read: list[int] = []
    collate = policy.collate

    def counting(comparisons):  # type: ignore[no-untyped-def]
        read.append(sum(len(comparison.candidates) for comparison in comparisons))
        return collate(comparisons)

    policy.collate = counting  # type: ignore[method-assign]

    def gradient(budget: int) -> tuple[torch.Tensor, int]:
        policy.zero_grad()
        read.clear()
        reference = start_reference(policy)
        function = StepFunction(policy, build_objective("kto"), reference, PlainEngine(), budget, 0, dropout=dropout)
        function(policy, steps, 0)
        return torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None]), sum(read)

    whole, once = gradient(100_000)
    cut, both = gradient(1)
    assert (whole - cut).abs().max() < 1e-6 * whole.abs().max()
    answers = 2 * len(steps)
    assert once == answers
    assert both == answers + (answers if dropout else len(steps))


def _labelled(comparison: EncodedComparison, number: int) -> EncodedComparison:
    nan = float("nan")
    return replace(
        comparison, candidates=comparison.candidates[:1], scores=(nan,), labels=(number % 2,), roles=(None,)
    )
