"""Answers drawn for prompts, as comparisons whose answers all differ: the first step of every on-policy builder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from statistics import mean

from assent.building.built import Built, counted
from assent.comparison import Candidate, Comparison, Prompt, content_key
from assent.generation.decoding import Decoder
from assent.generation.sampling import Sampling

OnStep = Callable[[], None]
FAILED, TOO_FEW, REPEATED = "no answer could be drawn", "fewer than two different answers", "answers drawn twice"


def nothing() -> None:
    """Nobody watches."""


def draw(prompts: Sequence[Prompt], decoder: Decoder, sampling: Sampling, on_step: OnStep = nothing) -> Built:
    """K answers for each prompt, in the order of the prompts, equal and empty ones once.

    Prompts left with fewer than two different answers are left out, since nothing can be compared.
    """
    found: dict[int, Comparison] = {}
    for index, comparison in decoder.decode(prompts, sampling):
        found[index] = comparison
        on_step()
    return varied(found[index] for index in sorted(found))


def varied(comparisons: Iterable[Comparison]) -> Built:
    """The comparisons with each answer once, empty ones dropped; those with fewer than two are left out."""
    kept, reasons = [], Counter[str]()
    for comparison in comparisons:
        if "failed" in comparison.meta:
            reasons[FAILED] += 1
            continue
        different: dict[str, Candidate] = {}
        for candidate in comparison.answers:
            if candidate.completion != "":
                different.setdefault(content_key(candidate.completion), candidate)
        reasons[REPEATED] += len(comparison.answers) - len(different)
        if len(different) < 2:
            reasons[TOO_FEW] += 1
            continue
        meta = {name: value for name, value in comparison.meta.items() if name != "samples"}
        kept.append(replace(comparison, candidates=list(different.values()), meta=meta))
    return Built(kept, counted(reasons))


def mean_length(candidates: Iterable[Candidate]) -> float | None:
    """Mean length of texts in characters; None where there are none."""
    lengths = [len(one.completion) for one in candidates if isinstance(one.completion, str)]
    return mean(lengths) if lengths else None
