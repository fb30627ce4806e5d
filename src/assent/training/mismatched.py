"""Answers to other prompts, as helper candidates: what KTO's reference point is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from assent.encoding import EncodedCandidate, EncodedComparison
from assent.errors import InputError
from assent.training.order import mixed_seed

ROLE = "mismatched"


def with_mismatched(
    comparisons: Sequence[EncodedComparison], seed: int, step: int, spare: Sequence[EncodedComparison] = ()
) -> list[EncodedComparison]:
    """The step's comparisons, each with a helper: its own prompt with the first answer of another one.

    Who gets whose answer is a derangement fixed by (seed, step) and the step's content: nobody keeps their own,
    and nobody gets an answer to the same prompt if it can be helped. A step of one comparison, or of one prompt,
    takes answers from `spare`.
    """
    prompts = [_prompt(comparison.candidates[0]) for comparison in comparisons]
    generator = torch.Generator().manual_seed(mixed_seed(seed, step, 0x6D69736D))
    order: list[int] = torch.randperm(len(comparisons), generator=generator).tolist()
    givers = _without_own(order, prompts)
    made = []
    for index, comparison in enumerate(comparisons):
        giver = comparisons[givers[index]]
        if prompts[givers[index]] == prompts[index]:
            giver = _from(spare, prompts[index], mixed_seed(seed, step, index), comparison)
        helper = _joined(comparison.candidates[0], giver.candidates[0])
        kept = [at for at, role in enumerate(comparison.roles) if role != ROLE]
        made.append(_with_helper(comparison, kept, helper))
    return made


def _without_own(order: list[int], prompts: Sequence[object]) -> list[int]:
    """For each comparison who gives: the next in a cycle through all, repaired where the prompts are equal."""
    givers = {order[at]: order[(at + 1) % len(order)] for at in range(len(order))}
    for taker in order:
        if prompts[givers[taker]] != prompts[taker]:
            continue
        for other in order:
            mine, theirs = givers[taker], givers[other]
            if prompts[theirs] != prompts[taker] and prompts[mine] != prompts[other]:
                givers[taker], givers[other] = theirs, mine
                break
    return [givers[index] for index in range(len(order))]


def _from(
    spare: Sequence[EncodedComparison], prompt: tuple[int, ...], seed: int, comparison: EncodedComparison
) -> EncodedComparison:
    start = seed % len(spare) if spare else 0
    for offset in range(len(spare)):
        candidate = spare[(start + offset) % len(spare)]
        if _prompt(candidate.candidates[0]) != prompt:
            return candidate
    raise InputError(
        "needs answers to other prompts, and all prompts are the same",
        where=f"comparison {comparison.id}",
        remedy="Use an objective that needs none (for KTO: reference_point: batch_mean)",
    )


def _prompt(candidate: EncodedCandidate) -> tuple[int, ...]:
    return candidate.ids[: candidate.prompt_length]


def _joined(taker: EncodedCandidate, giver: EncodedCandidate) -> EncodedCandidate:
    """The taker's prompt, media included, followed by the giver's completion."""
    cut, start = taker.prompt_length, giver.prompt_length
    return replace(
        taker, ids=taker.ids[:cut] + giver.ids[start:], segments=taker.segments[:cut] + giver.segments[start:]
    )


def _with_helper(comparison: EncodedComparison, kept: Sequence[int], helper: EncodedCandidate) -> EncodedComparison:
    nan = float("nan")
    return replace(
        comparison,
        candidates=(*(comparison.candidates[at] for at in kept), helper),
        scores=(*(comparison.scores[at] for at in kept), nan),
        labels=(*(comparison.labels[at] for at in kept), -1),
        roles=(*(comparison.roles[at] for at in kept), ROLE),
        dimensions={name: (*(values[at] for at in kept), nan) for name, values in comparison.dimensions.items()},
    )
