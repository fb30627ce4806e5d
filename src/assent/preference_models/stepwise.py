"""Scores whole answers with a process model: each answer's steps are scored, then combined."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from assent.comparison import Comparison
from assent.preference_models.process import Process, aggregate_steps, steps_of, stepwise
from assent.preference_models.scoring import Scored, Scorer
from assent.preference_models.text import completion_text


class StepwiseScorer:
    """A process model as a scorer of answers.

    Args:
        steps: scores the steps of one answer, as the candidates of a comparison.
        head: the model, which knows the separator and how steps are combined.
    """

    def __init__(self, steps: Scorer, head: Process) -> None:
        self.steps, self.head, self.name = steps, head, steps.name

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """One result for each comparison; `steps` and `worst_step` stand beside the reward."""
        answers = [
            stepwise(c.prompt_of(candidate), steps_of(completion_text(candidate.completion), self.head.separator))
            for c in comparisons
            for candidate in c.candidates
        ]
        scored = iter(self.steps.score(answers))
        results = []
        for comparison in comparisons:
            odds = [next(scored).ranking_scores() for _ in comparison.candidates]
            results.append(
                Scored(
                    rewards=tuple(self._combined(row) for row in odds),
                    dimensions={
                        "steps": tuple(float(len(row)) for row in odds),
                        "worst_step": tuple(torch.tensor(min(row)).sigmoid().item() for row in odds),
                    },
                )
            )
        return results

    def _combined(self, odds: Sequence[float]) -> float:
        row = torch.tensor([odds])
        return float(aggregate_steps(row, torch.ones_like(row, dtype=torch.bool), self.head.aggregate))
