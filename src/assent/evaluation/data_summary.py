"""What a set of comparisons holds: the numbers one wants to see before training on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from assent.comparison import Comparison
from assent.errors import InputError
from assent.evaluation.data_findings import findings, tied
from assent.evaluation.data_lengths import Lengths, Tokenise, lengths, shared_prefix, sides, spoken, words
from assent.evaluation.intervals import Interval, wilson_interval

MOST_NAMES = 12
"""Annotators, groups and sources that are listed by name; the others are counted together."""
SCORE_BINS = 10


@dataclass(frozen=True)
class Scores:
    """How scores are distributed: `histogram` holds (from, to, how many)."""

    count: int
    distinct: int
    lowest: float
    mean: float
    median: float
    highest: float
    histogram: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True)
class DataSummary:
    """The account of a set of comparisons.

    Args:
        unit: what lengths are counted in, `words` or `tokens`.
        counts: comparisons, candidates, and how many of them are of which kind.
        defects: ties, identical candidates, empty completions, duplicates, contradictions.
        lengths: by side: prompt, chosen, rejected, good, bad, between, answers.
        common_prefix: share of all units that is a prefix common to a comparison's candidates.
        computed_once: share of all units that need not be computed if such prefixes are computed once.
        longer_wins: how often the longer of chosen and rejected is chosen; None without such pairs.
        scores: the distribution of scores, of the gaps between best and worst, of confidence, and by dimension.
        annotators, groups, contexts, sources: how many records each has; None stands for "not given".
        demonstrations: whether nothing is judged, so that the set serves supervised fine-tuning only.
    """

    unit: str
    counts: dict[str, int]
    defects: dict[str, int]
    lengths: dict[str, Lengths]
    common_prefix: float
    computed_once: float
    longer_wins: Interval | None
    scores: dict[str, Scores]
    annotators: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    contexts: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    demonstrations: bool = False

    def as_json(self) -> dict[str, Any]:
        """JSON-like data of it all."""
        return asdict(self)


def summarise(
    comparisons: Sequence[Comparison],
    tokenise: Tokenise = words,
    unit: str = "words",
    near: float | None = 0.8,
) -> DataSummary:
    """The summary of comparisons.

    Args:
        comparisons: at least one.
        tokenise: from a text to its units.
        unit: what those are called.
        near: similarity from which two records are near duplicates; None: they are not looked for.

    Raises:
        InputError: there is nothing to summarise.
    """
    if not comparisons:
        raise InputError("there are no comparisons to summarise")
    tally = _Tally(tokenise)
    for comparison in comparisons:
        tally.add(comparison)
    counts = _counts(comparisons)
    return DataSummary(
        unit=unit,
        counts=counts,
        defects=_defects(comparisons, near),
        lengths={name: lengths(values) for name, values in tally.lengths.items() if values},
        common_prefix=tally.prefix / max(1, tally.total),
        computed_once=tally.saved / max(1, tally.total),
        longer_wins=wilson_interval(tally.longer, tally.unequal) if tally.unequal else None,
        scores={name: _distribution(values) for name, values in _score_sets(comparisons).items() if values},
        annotators=_names(comparison.annotator for comparison in comparisons),
        groups=_names(comparison.group for comparison in comparisons),
        contexts=_names(comparison.context for comparison in comparisons),
        sources=_names(candidate.source for comparison in comparisons for candidate in comparison.answers),
        demonstrations=counts["judged candidates"] == counts["labelled candidates"] == 0 and not _rated(comparisons),
    )


class _Tally:
    """Lengths by side and what prefixes are shared, in one pass over the texts."""

    def __init__(self, tokenise: Tokenise) -> None:
        self.tokenise = tokenise
        self.lengths: dict[str, list[int]] = {
            name: [] for name in ("prompt", "chosen", "rejected", "between", "good", "bad", "answers")
        }
        self.total = self.prefix = self.saved = self.longer = self.unequal = 0

    def add(self, comparison: Comparison) -> None:
        """Counts one comparison."""
        prompts: dict[str, Sequence[Hashable]] = {}
        units: dict[int, Sequence[Hashable]] = {}
        rows = []
        for candidate in comparison.answers:
            prompt = spoken(comparison.prompt_of(candidate))
            if prompt not in prompts:
                prompts[prompt] = self.tokenise(prompt)
            units[id(candidate)] = self.tokenise(spoken(candidate.completion))
            rows.append([*prompts[prompt], *units[id(candidate)]])
        self.lengths["prompt"] += [len(prompt) for prompt in prompts.values()]
        shared = shared_prefix(rows)
        self.total += sum(map(len, rows))
        self.prefix += shared * len(rows)
        self.saved += shared * (len(rows) - 1)
        self._sides(comparison, {key: len(value) for key, value in units.items()})

    def _sides(self, comparison: Comparison, size: dict[int, int]) -> None:
        by_side = sides(comparison)
        for side, candidates in by_side.items():
            self.lengths[side] += [size[id(candidate)] for candidate in candidates]
        if "chosen" in by_side and not tied(comparison):
            chosen, rejected = (size[id(by_side[side][0])] for side in ("chosen", "rejected"))
            self.unequal += chosen != rejected
            self.longer += chosen > rejected


def _counts(comparisons: Sequence[Comparison]) -> dict[str, int]:
    answers = [candidate for comparison in comparisons for candidate in comparison.answers]
    return {
        "comparisons": len(comparisons),
        "candidates": len(answers),
        "helper candidates": sum(len(c.candidates) for c in comparisons) - len(answers),
        "pairs": sum(len(c.answers) == 2 for c in comparisons),
        "lists of three and more": sum(len(c.answers) > 2 for c in comparisons),
        "single answers": sum(len(c.answers) == 1 for c in comparisons),
        "judged candidates": sum(candidate.judged for candidate in answers),
        "labelled candidates": sum(candidate.label is not None for candidate in answers),
        "labelled good": sum(candidate.label is True for candidate in answers),
        "distinct prompts": len({_prompt_key(comparison.prompt) for comparison in comparisons}),
        "with different prompts": sum(
            any(comparison.prompt_of(c) != comparison.prompt for c in comparison.answers)
            for comparison in comparisons
        ),
        "of several turns": sum(_several_turns(comparison) for comparison in comparisons),
    }


def _defects(comparisons: Sequence[Comparison], near: float | None) -> dict[str, int]:
    """Records by kind of finding; empty completions are counted one by one."""
    kinds = Counter(finding.kind for finding in findings(comparisons, near))
    empty = sum(not spoken(answer.completion).strip() for c in comparisons for answer in c.answers)
    found = {
        "ties": kinds["tie"],
        "identical candidates": kinds["identical candidates"],
        "empty completions": empty,
        "exact duplicates": kinds["exact duplicate"],
        "contradictions": kinds["contradiction"],
    }
    return found if near is None else {**found, "near duplicates": kinds["near duplicate"]}


def _prompt_key(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, default=str)


def _several_turns(comparison: Comparison) -> bool:
    prompt = comparison.prompt
    return not isinstance(prompt, str) and sum(message.get("role") == "user" for message in prompt) > 1


def _rated(comparisons: Sequence[Comparison]) -> bool:
    return any(candidate.scores for comparison in comparisons for candidate in comparison.answers)


def _score_sets(comparisons: Sequence[Comparison]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"score": [], "best minus worst": [], "confidence": []}
    for comparison in comparisons:
        scores = [candidate.score for candidate in comparison.answers if candidate.score is not None]
        found["score"] += scores
        # Finite scores may lie farther apart than a float can say; such a gap has no place in a distribution.
        if len(scores) > 1 and np.isfinite(max(scores) - min(scores)):
            found["best minus worst"].append(max(scores) - min(scores))
        if comparison.confidence is not None:
            found["confidence"].append(comparison.confidence)
        for candidate in comparison.answers:
            for dimension, score in candidate.scores.items():
                found.setdefault(f"scores.{dimension}", []).append(score)
    return found


def _distribution(values: Sequence[float]) -> Scores:
    array = np.asarray(values, dtype=np.float64)
    low, high = float(array.min()), float(array.max())
    # Scores of 1e308 and -1e308 lie farther apart than a float can say; one bin then holds them all.
    spread = high > low and np.isfinite(high - low)
    counts, edges = np.histogram(array, SCORE_BINS, (low, high)) if spread else (np.array([len(array)]), [low, high])
    bins = tuple((float(a), float(b), int(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False))
    return Scores(
        len(array), len(np.unique(array)), low, float((array / len(array)).sum()), float(np.median(array)), high, bins
    )


def _names(values: Iterable[str | None]) -> dict[str, int]:
    """How often each name occurs, most frequent first, the rare ones together; empty if nothing is named."""
    given = list(values)
    counted = Counter(value for value in given if value is not None)
    unnamed = len(given) - counted.total()
    if not counted:
        return {}
    common = dict(counted.most_common(MOST_NAMES))
    others = len(counted) - len(common)
    rest = {f"({others:,} others)": counted.total() - sum(common.values())} if others else {}
    return {**common, **rest, **({"(not given)": unnamed} if unnamed else {})}
