"""Bradley-Terry: one number for each candidate, and the difference of two decides.

Source: Bradley and Terry 1952; as a reward model: Ouyang et al. 2022, arXiv 2203.02155, eq. 1; margin: Touvron et
al. 2023, arXiv 2307.09288, eq. 2; centering: Eisenstein et al. 2023, arXiv 2312.09244; length head: Chen et al.
2024 (ODIN), arXiv 2402.07319.

    L = mean over verdicts of l(r_i - r_j - m (s_i - s_j)) + c (r_i + r_j)^2,    l(d) = -log sigmoid(d)

s are the judge's scores, so that m is a margin for each unit of judged difference. A constant added to every
reward changes nothing but the centering term. With a list, all its ordered pairs count as one comparison, or
(`lists: plackett_luce`) the likelihood of the whole ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from assent.errors import InputError
from assent.objectives import Judged
from assent.preference_models.losses import (
    centering,
    confident_wins,
    differences,
    logistic,
    mean_over_wins,
    plackett_luce,
    score_gaps,
    wins_of,
)
from assent.preference_models.model import Annotators, Embedded, Features, PreferenceModel, perceptron


@dataclass(eq=False)
class BradleyTerry(PreferenceModel):
    """A scalar reward model.

    Args:
        hidden_size: H, the size of the features.
        layers: widths of hidden layers before the scalar; none for a linear head.
        margin: how far rewards must differ for each unit of judged difference; 0 for none.
        center_rewards_coefficient: c, weight of the term that keeps rewards near 0; 0.01 is usual.
        label_smoothing: share of the verdicts that is taken to be wrong, in [0, 1/2).
        verdicts: `scores` for hard verdicts, `confidence` for the record's own probability where it has one.
        lists: how more than two candidates count.
        bias: whether the reward has an offset, as heads that were trained elsewhere may; it moves no comparison.
    """

    hidden_size: int
    layers: tuple[int, ...] = ()
    margin: float = 0.0
    center_rewards_coefficient: float = 0.0
    label_smoothing: float = 0.0
    verdicts: Literal["scores", "confidence"] = "scores"
    lists: Literal["pairs", "plackett_luce"] = "pairs"
    bias: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.layers = tuple(self.layers)
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}")
        if self.margin < 0 or self.center_rewards_coefficient < 0:
            raise ValueError("margin and center_rewards_coefficient must not be negative")
        if self.verdicts not in ("scores", "confidence"):
            raise ValueError(f"verdicts must be scores or confidence, got {self.verdicts!r}")
        if self.lists not in ("pairs", "plackett_luce"):
            raise ValueError(f"lists must be pairs or plackett_luce, got {self.lists!r}")
        if self.lists == "plackett_luce" and (self.margin or self.label_smoothing or self.verdicts != "scores"):
            raise ValueError("plackett_luce takes no margin, label_smoothing or confidence")
        sizes = (self.hidden_size, *self.layers)
        self.trunk = perceptron(sizes)
        # No bias of its own: a constant reward is not identified; transformers' `score` head has none either.
        self.score = nn.Linear(sizes[-1], 1, bias=self.bias)

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 1]: the reward."""
        values = self.score(self.trunk(batch.candidates))
        return Embedded(values, batch.candidates, batch.prompt, batch.mask)

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K]; the same for every annotator."""
        return embedded.values[..., 0]

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]."""
        reward = self.reward(embedded)
        hard = wins_of(judged)
        if self.lists == "plackett_luce":
            losses = _ranking(reward, judged)
        else:
            wins = confident_wins(judged) if self.verdicts == "confidence" else hard
            gaps = differences(reward) - self.margin * score_gaps(judged)
            losses = mean_over_wins(logistic(gaps, self.label_smoothing), wins, judged)
        if self.center_rewards_coefficient:
            losses = losses + self.center_rewards_coefficient * centering(reward, hard, judged)
        return losses


def _ranking(reward: Tensor, judged: Judged) -> Tensor:
    """[B] Plackett-Luce loss in the order of the scores; a tie has no order."""
    present = judged.judged
    scores = torch.where(present, judged.scores, torch.full_like(judged.scores, -torch.inf))
    ordered, order = scores.sort(dim=1, descending=True, stable=True)
    tied = (ordered[:, 1:] == ordered[:, :-1]) & ordered[:, 1:].isfinite()
    if tied.any():
        raise InputError(
            "a ranking with equal scores has no order",
            where=f"comparison {int(tied.any(dim=1).nonzero()[0])} of the batch",
            remedy="Use `lists: pairs`, which leaves tied pairs out",
        )
    return plackett_luce(reward, order, present)
