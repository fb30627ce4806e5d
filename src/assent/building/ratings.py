"""Pairs from ratings, and scores of models from ratings by preference.

Source: Weyssow et al. 2024, arXiv 2403.09032 (CodeUltraFeedback and CODAL-Bench). Chosen is drawn among the answers
of the highest rating, rejected among those of the lowest; answers without a rating are ignored. Where all ratings
are equal there is no pair: the comparison is left out and counted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

from scipy.stats import chi2_contingency

from assent.comparison import Comparison


@dataclass(frozen=True)
class Binarized:
    """Pairs, and how many comparisons had no two different ratings."""

    comparisons: list[Comparison]
    left_out: int


def extremes(ratings: Sequence[float | None]) -> tuple[list[int], list[int]] | None:
    """The indices of the highest and of the lowest rating; None where all given ratings are equal."""
    given = [rating for rating in ratings if rating is not None]
    if not given or min(given) == max(given):
        return None
    best = [index for index, rating in enumerate(ratings) if rating == max(given)]
    worst = [index for index, rating in enumerate(ratings) if rating == min(given)]
    return best, worst


def binarize(comparisons: Sequence[Comparison], seed: int = 0) -> Binarized:
    """One pair for each rated list, ties at either end broken by the seed; ratings stay as the pair's scores."""
    pairs = []
    for comparison in comparisons:
        answers = comparison.answers
        found = extremes([candidate.score for candidate in answers])
        if found is None:
            continue
        generator = random.Random(f"{seed}:{comparison.key}")
        chosen, rejected = (answers[generator.choice(side)] for side in found)
        pairs.append(replace(comparison, candidates=[chosen, rejected]))
    return Binarized(pairs, len(comparisons) - len(pairs))


def round_robin(count: int, preferences: Sequence[str]) -> list[str]:
    """A preference for each of `count` prompts, by position, so that all are equally frequent."""
    return [preferences[index % len(preferences)] for index in range(count)]


@dataclass(frozen=True)
class PreferenceScores:
    """Mean rating by preference, the plain mean of those, and how many ratings are missing."""

    means: dict[str, float | None]
    average: float | None
    missing: dict[str, int]


def score_card(ratings: Mapping[str, Sequence[float | None]]) -> PreferenceScores:
    """A model's mean rating by preference; missing ratings are left out and counted, never read as 0."""
    given = {name: [rating for rating in row if rating is not None] for name, row in ratings.items()}
    means = {name: mean(row) if row else None for name, row in given.items()}
    known = [value for value in means.values() if value is not None]
    missing = {name: len(ratings[name]) - len(row) for name, row in given.items()}
    return PreferenceScores(means, mean(known) if known else None, missing)


def slot_dependence(comparisons: Sequence[Comparison]) -> float | None:
    """P-value of ratings' independence of the place in which an answer was shown to a listwise judge.

    Pearson's chi-square over places and ratings. A small one tells of a judge that looks at the place, since orders
    are random. None where there are not two places with two different ratings.
    """
    counts: Counter[tuple[int, float]] = Counter()
    for comparison in comparisons:
        order = comparison.meta.get("judgement", {}).get("order", ())
        for slot, at in enumerate(order):
            score = comparison.candidates[at].score
            if score is not None:
                counts[slot, score] += 1
    slots, scores = sorted({slot for slot, _ in counts}), sorted({score for _, score in counts})
    if len(slots) < 2 or len(scores) < 2:
        return None
    return float(chi2_contingency([[counts[slot, score] for score in scores] for slot in slots]).pvalue)
