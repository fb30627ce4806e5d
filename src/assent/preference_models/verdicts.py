"""Verdicts of comparisons without likelihoods, for models that learn from features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from assent.comparison import Comparison
from assent.encoding import EncodedCandidate, EncodedComparison
from assent.likelihood import Likelihoods
from assent.objectives import Judged

NOTHING = EncodedCandidate(ids=(), segments=(), prompt_length=0)


def verdicts_of(comparisons: Sequence[Comparison]) -> Judged:
    """What the judge said of comparisons, candidates in column order (best first); its likelihoods are empty."""
    rows = [_unread(comparison) for comparison in comparisons]
    width = max(len(row.candidates) for row in rows)
    mask = torch.tensor([[column < len(row.candidates) for column in range(width)] for row in rows])
    return Judged.of(rows, Likelihoods.from_sums(torch.zeros(mask.shape), mask=mask))


def select_verdicts(judged: Judged, index: Tensor) -> Judged:
    """The verdicts of some of the comparisons ([N] indices)."""
    chosen = index.tolist()
    mask = judged.mask[index]
    return replace(
        judged,
        policy=Likelihoods.from_sums(torch.zeros(mask.shape), mask=mask),
        scores=judged.scores[index],
        labels=judged.labels[index],
        roles=tuple(judged.roles[row] for row in chosen),
        mask=mask,
        confidence=None if judged.confidence is None else judged.confidence[index],
        weight=judged.weight[index],
        dimensions={name: value[index] for name, value in judged.dimensions.items()},
        annotator=None if judged.annotator is None else tuple(judged.annotator[row] for row in chosen),
        group=None if judged.group is None else tuple(judged.group[row] for row in chosen),
        extra={name: [values[row] for row in chosen] for name, values in judged.extra.items()},
        ids=tuple(judged.ids[row] for row in chosen),
    )


def _unread(comparison: Comparison) -> EncodedComparison:
    ordered = comparison.ordered()
    nan = float("nan")
    names = sorted({name for candidate in ordered for name in candidate.scores})
    # Confidence speaks of the record's first candidate; in column order that may be the second.
    confidence = comparison.confidence
    if confidence is not None and ordered[0] is not comparison.answers[0]:
        confidence = 1 - confidence
    return EncodedComparison(
        id=comparison.key,
        candidates=(NOTHING,) * len(ordered),
        scores=tuple(nan if c.score is None or c.role is not None else c.score for c in ordered),
        labels=tuple(-1 if c.label is None else int(c.label) for c in ordered),
        roles=tuple(c.role for c in ordered),
        dimensions={name: tuple(c.scores.get(name, nan) for c in ordered) for name in names},
        confidence=confidence,
        weight=comparison.weight,
        annotator=comparison.annotator,
        group=comparison.group,
        context=comparison.context,
    )
