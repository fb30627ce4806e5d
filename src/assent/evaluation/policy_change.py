"""What alignment did to a policy: how often it beats its start, how far it moved, how its texts changed.

Letters: N prompts, S samples of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assent.errors import InputError
from assent.evaluation.intervals import Interval, bootstrap_interval

Texts = Sequence[Sequence[str]]
"""N prompts of S samples."""

Preference = Callable[[str, str, str], float]
"""(prompt, first, second) -> P(the first is better): 1, 0, 1/2 for a tie, NaN where the judge has no verdict."""


@dataclass(frozen=True)
class HeadToHead:
    """One policy against another under a judge.

    Args:
        rate: share of comparisons won, ties one half, with its interval over prompts.
        wins: comparisons won; likewise `losses`, `ties` and `unjudged`.
        verdicts: [N, S] P(the policy's sample is better), NaN where not judged.
    """

    rate: Interval
    wins: int
    losses: int
    ties: int
    unjudged: int
    verdicts: NDArray[np.float64]


def head_to_head(
    prompts: Sequence[str], policy: Texts, opponent: Texts, prefers: Preference, seed: int = 0
) -> HeadToHead:
    """How often the policy's sample s beats the opponent's sample s of the same prompt.

    The judge sees each pair in an order drawn by `seed`, so that one who favours a position favours nobody.

    Raises:
        InputError: samples that do not match, or no verdict at all.
    """
    _check_alike(prompts, policy, opponent)
    generator = np.random.default_rng(seed)
    verdicts = np.array(
        [
            [
                _verdict(prefers, prompt, mine, other, bool(generator.integers(2)))
                for mine, other in zip(ours, theirs, strict=True)
            ]
            for prompt, ours, theirs in zip(prompts, policy, opponent, strict=True)
        ]
    )
    groups = [index for index, ours in enumerate(policy) for _ in ours]
    return HeadToHead(
        rate=bootstrap_interval(verdicts, groups, seed=seed),
        wins=int((verdicts > 0.5).sum()),
        losses=int((verdicts < 0.5).sum()),
        ties=int((verdicts == 0.5).sum()),
        unjudged=int(np.isnan(verdicts).sum()),
        verdicts=verdicts,
    )


def kl_to_start(policy: Sequence[Sequence[float]], start: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """KL(policy || start) per text in nats, from the log-probabilities of the policy's own samples under both.

        KL = E_{y ~ policy} [log policy(y) - log start(y)]

    Unbiased only if the texts were drawn from the policy itself: temperature 1, no top-k or top-p. Being a mean of
    signed terms, the estimate of a very small KL can be negative; its interval then holds 0.
    """
    ratios = [np.subtract(ours, theirs) for ours, theirs in zip(policy, start, strict=True)]
    groups = [index for index, row in enumerate(ratios) for _ in row]
    return bootstrap_interval(np.concatenate(ratios) if ratios else [], groups, seed=seed)


def repetition(text: str, words: int = 3) -> float:
    """The share of the text's word n-grams (default: three words) that occurred before in it; 0 for short texts."""
    tokens = text.lower().split()
    grams = [tuple(tokens[at : at + words]) for at in range(len(tokens) - words + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _verdict(prefers: Preference, prompt: str, mine: str, other: str, swap: bool) -> float:
    verdict = 1 - prefers(prompt, other, mine) if swap else prefers(prompt, mine, other)
    if not (np.isnan(verdict) or 0 <= verdict <= 1):
        raise InputError("a preference is a probability", field="prefers", found=str(verdict), expected="0 to 1")
    return verdict


def _check_alike(prompts: Sequence[str], policy: Texts, opponent: Texts) -> None:
    if not len(prompts) == len(policy) == len(opponent):
        raise InputError(
            "every prompt needs samples of both", found=f"{len(prompts)} prompts, {len(policy)} and {len(opponent)}"
        )
    widths = {len(samples) for samples in (*policy, *opponent)}
    if len(widths) > 1:
        raise InputError("every prompt needs as many samples as every other", found=str(sorted(widths)))
