"""A model that reads two candidates together, consistent under swapping them.

Sources: Jiang et al. 2023 (PairRM), arXiv 2306.02561; Dong et al. 2024 (pair preference model), arXiv 2405.07863.

    s(i > j) = (f(h_i, h_j) - f(h_j, h_i)) / 2,    f(a, b) = w . relu(A a + B b + C (a * b)),    L = -log sigmoid(s)

Averaging the two orders inside the model makes s exactly antisymmetric: position cannot matter. It has no reward
of one candidate, and K candidates cost K^2 heads, though only K passes of the backbone. A generative model that
answers "A" or "B" is read with `order_averaged`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assent.objectives import Judged
from assent.preference_models.losses import logistic, mean_over_wins, wins_of
from assent.preference_models.model import Annotators, Embedded, Features, PreferenceModel


@dataclass(eq=False)
class Pairwise(PreferenceModel):
    """A comparator of two candidates.

    Args:
        hidden_size: H, the size of the features.
        width: size of the hidden layer.
        label_smoothing: share of the verdicts that is taken to be wrong, in [0, 1/2).
    """

    hidden_size: int
    width: int = 64
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__init__()
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}")
        self.shown_first = nn.Linear(self.hidden_size, self.width)
        self.shown_second = nn.Linear(self.hidden_size, self.width, bias=False)
        self.product = nn.Linear(self.hidden_size, self.width, bias=False)
        self.out = nn.Linear(self.width, 1, bias=False)

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 2 W + H]: each candidate as the first, as the second, and for the product."""
        h = batch.candidates
        values = torch.cat([self.shown_first(h), self.shown_second(h), h], dim=-1)
        return Embedded(values, h, batch.prompt, batch.mask)

    def preference(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K, K] logits, the same for every annotator."""
        first, second, h = embedded.values.split([self.width, self.width, self.hidden_size], dim=-1)
        product = self.product(h.unsqueeze(2) * h.unsqueeze(1))
        read: Tensor = self.out(torch.relu(first.unsqueeze(2) + second.unsqueeze(1) + product)).squeeze(-1)
        return (read - read.transpose(1, 2)) / 2

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]."""
        losses = logistic(self.preference(embedded), self.label_smoothing)
        return mean_over_wins(losses, wins_of(judged), judged)


def order_averaged(logits_shown_first: Tensor, logits_shown_second: Tensor) -> Tensor:
    """Returns [...] P(candidate wins), the mean over both orders of a model that answers "A" or "B".

    Args:
        logits_shown_first: [..., 2] logits of "A" and "B" where the candidate stands in slot A.
        logits_shown_second: [..., 2] the same where it stands in slot B.
    """
    return (logits_shown_first.softmax(-1)[..., 0] + logits_shown_second.softmax(-1)[..., 1]) / 2


def order_consistent(logits_shown_first: Tensor, logits_shown_second: Tensor) -> Tensor:
    """Returns [...] whether both orders name the same winner."""
    first = logits_shown_first[..., 0] > logits_shown_first[..., 1]
    return first == (logits_shown_second[..., 1] > logits_shown_second[..., 0])
