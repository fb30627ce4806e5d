"""Ordinal and pointwise regression: rewards that mean something on the judge's own scale.

Sources: squared error on marks: Wang et al. 2023 (HelpSteer), arXiv 2311.09528; cumulative logits: McCullagh 1980;
pairs by their gap: `target: difference`.

    squared     (r - y)^2
    cumulative  -log P(y),  P(y <= level c) = sigmoid(theta_c - r),  thresholds theta_1 < ... < theta_{C-1}
    difference  (r_i - r_j - (y_i - y_j))^2 over pairs of different scores

With two levels the cumulative form is logistic regression. Candidates without a score take no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from assent.errors import InputError
from assent.objectives import Judged, Needs
from assent.preference_models.losses import differences, mean_over_wins, score_gaps, wins_of
from assent.preference_models.model import Annotators, Embedded, Features, PreferenceModel, perceptron


@dataclass(eq=False)
class Ordinal(PreferenceModel):
    """A reward fitted to the marks of a judge.

    Args:
        hidden_size: H, the size of the features.
        target: what is fitted: the mark itself, its ordered level, or the gap between two marks.
        levels: the marks in rising order, for `cumulative`.
        layers: widths of hidden layers before the scalar.
    """

    hidden_size: int
    target: Literal["squared", "cumulative", "difference"] = "squared"
    levels: tuple[float, ...] = ()
    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__init__()
        self.layers, self.levels = tuple(self.layers), tuple(self.levels)
        if self.target not in ("squared", "cumulative", "difference"):
            raise ValueError(f"target must be squared, cumulative or difference, got {self.target!r}")
        if self.target == "cumulative" and (len(self.levels) < 2 or list(self.levels) != sorted(set(self.levels))):
            raise ValueError(f"cumulative needs two or more different levels in rising order, got {self.levels}")
        sizes = (self.hidden_size, *self.layers)
        self.trunk = perceptron(sizes)
        self.score = nn.Linear(sizes[-1], 1)
        if self.target == "cumulative":
            self.first_threshold = nn.Parameter(torch.tensor(-(len(self.levels) - 2) / 2))
            # softplus of these are the steps between thresholds, so that their order cannot be lost.
            self.threshold_steps = nn.Parameter(torch.full((len(self.levels) - 2,), 0.5413))

    @property
    def needs(self) -> Needs:
        """Marks of single candidates, or pairs of different marks."""
        return Needs(lists=self.target == "difference")

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 1]: the reward."""
        return Embedded(self.score(self.trunk(batch.candidates)), batch.candidates, batch.prompt, batch.mask)

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K]; the same for every annotator."""
        return embedded.values[..., 0]

    @property
    def thresholds(self) -> Tensor:
        """[C - 1] where one level ends and the next begins, on the reward's scale."""
        return torch.cat(
            [self.first_threshold[None], self.first_threshold + softplus(self.threshold_steps).cumsum(0)]
        )

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]: the mean over its judged candidates (pairs for `difference`)."""
        reward = self.reward(embedded)
        if self.target == "difference":
            errors = (differences(reward) - score_gaps(judged)).square()
            return mean_over_wins(errors, wins_of(judged), judged)
        present = judged.judged
        if not present.any(dim=1).all():
            raise InputError(
                "a comparison without any mark",
                where=f"comparison {int((~present.any(dim=1)).nonzero()[0])} of the batch",
                expected="a score on at least one candidate",
            )
        marks = torch.where(present, judged.scores, torch.zeros_like(judged.scores))
        losses = (reward - marks).square() if self.target == "squared" else self._level_loss(reward, judged, present)
        return torch.where(present, losses, torch.zeros_like(losses)).sum(dim=1) / present.sum(dim=1)

    def _level_loss(self, reward: Tensor, judged: Judged, present: Tensor) -> Tensor:
        levels = torch.tensor(self.levels, dtype=judged.scores.dtype, device=reward.device)
        matches = (judged.scores.unsqueeze(-1) - levels).abs() < 1e-6
        unknown = present & ~matches.any(dim=-1)
        if unknown.any():
            raise InputError(
                "a mark that is not among the levels",
                field="preference_model.ordinal.levels",
                found=str(float(judged.scores[unknown][0])),
                expected=", ".join(map(str, self.levels)),
            )
        return (
            -level_log_probabilities(reward, self.thresholds)
            .gather(-1, matches.int().argmax(-1, keepdim=True))
            .squeeze(-1)
        )


def level_log_probabilities(reward: Tensor, thresholds: Tensor) -> Tensor:
    """Returns [..., C] log-probability of each level of a cumulative-logit model.

    log(sigmoid(b) - sigmoid(a)) = log sigmoid(b) + log sigmoid(-a) + log(1 - exp(a - b)), which does not cancel.
    """
    upper = thresholds - reward.unsqueeze(-1)
    first, last = logsigmoid(upper[..., :1]), logsigmoid(-upper[..., -1:])
    between = (
        logsigmoid(upper[..., 1:])
        + logsigmoid(-upper[..., :-1])
        + torch.log(-torch.expm1(thresholds[:-1] - thresholds[1:]))
    )
    return torch.cat([first, between, last], dim=-1)
