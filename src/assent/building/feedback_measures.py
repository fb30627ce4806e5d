"""Measures of mined feedback: agreement with people, satisfaction of conversations, prompts to hold out.

Source: Shi et al. 2024, arXiv 2408.15549 (WildFeedback).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from assent.errors import InputError


@dataclass(frozen=True)
class Agreement:
    """How an annotator's yes and no agree with people's; None where a share has no cases."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def accuracy(self) -> float:
        """Share of equal labels."""
        return (self.true_positives + self.true_negatives) / self._count

    @property
    def precision(self) -> float | None:
        """Share of its yes that people share."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:
        """Share of people's yes that it finds."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)

    @property
    def _count(self) -> int:
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives


def agreement(people: Sequence[int], annotator: Sequence[int]) -> Agreement:
    """The four counts of two equally long rows of 0 and 1; kappa is `assent.evaluation.agreement.cohen_kappa`."""
    if len(people) != len(annotator) or not people:
        raise InputError("labels must pair up", found=f"{len(people)} and {len(annotator)}")
    counts = Counter(zip(map(bool, people), map(bool, annotator), strict=True))
    return Agreement(counts[True, True], counts[False, True], counts[True, False], counts[False, False])


def satisfaction(satisfied: int, dissatisfied: int) -> float | None:
    """(s - d) / (s + d) of a conversation's signals, from -1 to 1; None without a signal."""
    return _ratio(satisfied - dissatisfied, satisfied + dissatisfied)


def nearest_to_centres(embeddings: ArrayLike, clusters: Sequence[int], per_cluster: int) -> list[list[int]]:
    """For each cluster, in order, the indices nearest to its mean, nearest first: the paper's held-out prompts.

    Args:
        embeddings: [N, D] of prompt and wishes together.
        clusters: [N] from any clustering.
        per_cluster: how many of each.
    """
    points = np.asarray(embeddings, dtype=np.float64)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index, cluster in enumerate(clusters):
        members[cluster].append(index)
    found = []
    for cluster in sorted(members):
        rows = members[cluster]
        distances = ((points[rows] - points[rows].mean(0)) ** 2).sum(1)
        found.append([rows[at] for at in np.argsort(distances, kind="stable")[:per_cluster]])
    return found


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
