"""Comparisons of planted candidates: features are given, verdicts follow a rule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assent.comparison import Candidate, Comparison
from assent.objectives import Judged
from assent.preference_models import Features
from assent.preference_models.verdicts import verdicts_of


def planted(
    chosen: Tensor,
    rejected: Tensor,
    prompt: Tensor | None = None,
    annotators: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[Features, Judged]:
    """Features [N, 2, H] with the preferred candidate first, and their verdicts."""
    features = torch.stack([chosen, rejected], dim=1)
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    records = [
        Comparison(
            str(row),
            (Candidate("a", score=1.0), Candidate("b", score=0.0)),
            annotator=annotators[row] if annotators else None,
            group=groups[row] if groups else None,
        )
        for row in range(len(chosen))
    ]
    return Features(features, mask, prompt), verdicts_of(records)


def sorted_by(utility: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The preferred and the other item of each row, where utility [N] > 0 prefers the first."""
    wins = (utility > 0).unsqueeze(1)
    return torch.where(wins, first, second), torch.where(wins, second, first)
