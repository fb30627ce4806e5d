"""Decoders: from prompts to comparisons whose candidates are what was drawn, scored where the decoder scores.

Every decoder keeps all candidates, since they are preference data for free; `meta.decoding.chosen` names the one
to be served.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from assent.comparison import Candidate, Comparison, Prompt
from assent.errors import InputError
from assent.generation.sampling import Generator, Sample, Sampling


class Decoder(Protocol):
    """Draws and, where it has a scorer, ranks."""

    def decode(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Comparison]]:
        """Pairs (index of the prompt, its candidates as a comparison) as they are finished."""


class Plain:
    """Just draws.

    Args:
        generator: the model.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def decode(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Comparison]]:
        """K unjudged candidates for each prompt."""
        for index, samples in self.generator.stream(prompts, sampling, keys):
            yield index, comparison_of(prompts[index], samples, self.generator.name)


def comparison_of(
    prompt: Prompt, samples: Sequence[Sample], source: str, decoding: Mapping[str, Any] | None = None
) -> Comparison:
    """The samples as a comparison; how each ended, and its log-probability, stand in `meta.samples`.

    Failed samples are left out; where all failed, `meta.failed` says so and one empty candidate holds the place.
    """
    good = [sample for sample in samples if sample.finish_reason != "error"]
    if not good:
        return Comparison(prompt, [Candidate("", source=source)], meta={"failed": "no completion could be drawn"})
    notes = [
        {
            "finish_reason": sample.finish_reason,
            **({"log_prob": sample.log_prob, "tokens": len(sample.log_probs)} if sample.log_probs else {}),
        }
        for sample in good
    ]
    meta = {"samples": notes, **({"decoding": dict(decoding)} if decoding else {})}
    return Comparison(prompt, [Candidate(sample.text, source=source) for sample in good], meta=meta)


def served(comparison: Comparison) -> Candidate:
    """The answer that counts: the only one, or the one that the decoder chose.

    Raises:
        InputError: there are several and none is chosen.
    """
    answers = comparison.answers
    if len(answers) == 1:
        return answers[0]
    chosen = comparison.meta.get("decoding", {}).get("chosen")
    if not isinstance(chosen, int) or not 0 <= chosen < len(answers):
        raise InputError(
            "a row with several answers, of which none is chosen",
            where=f"record {comparison.key[:12]}",
            field="candidates",
            found=f"{len(answers)} answers",
            remedy="Give one answer per prompt, or decode with best_of_n",
        )
    return answers[chosen]


def best(scores: Sequence[float], texts: Sequence[str]) -> int:
    """Index of the highest score; empty texts and scores that are not numbers lose to all others, ties go first."""
    ranked = [
        score if text.strip() and not math.isnan(score) else -math.inf
        for score, text in zip(scores, texts, strict=True)
    ]
    return max(range(len(ranked)), key=lambda at: ranked[at])
