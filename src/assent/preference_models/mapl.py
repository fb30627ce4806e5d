"""MAPL: a reward model that also learns which prompt an answer obeys, and that gaps grow with the instructions.

Source: Sun et al. 2025, arXiv 2505.12845; the inter-sample formula is ours, the paper states its goal only.

    L = l(r(x, y_w) - r(x, y_l)) + a l(r(x_w, y) - r(x_l, y)) + b l(gap(x') - gap(x)),    l(d) = -log sigmoid(d)

with rewards in the place that log-ratios have in the objective `mapl`: each comparison belongs to one level, and with
a list all its ordered pairs count, as in `bradley_terry`.
`assent build constraints` makes pairs of prompts (group `intra`) and wider prompts (helpers `base_prompt`) from plain
pairs. A model that does not read its prompt stays at log 2 in the second and third.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from assent.objectives import Judged
from assent.objectives.checks import not_negative
from assent.preference_models.losses import differences, logistic, mean_over_wins, wins_of
from assent.preference_models.model import Annotators, Embedded, Features, PreferenceModel, perceptron

INTRA, BASE_PROMPT = "intra", "base_prompt"
"""The group of pairs of prompts, and the role of the two answers under the narrower prompt."""


@dataclass(eq=False)
class MultiLevel(PreferenceModel):
    """A scalar reward model of answers and of prompts.

    Args:
        hidden_size: H, the size of the features.
        layers: widths of hidden layers before the scalar; none for a linear head.
        intra_weight: weight of pairs of prompts for one answer.
        inter_weight: weight of pairs of gaps.
    """

    hidden_size: int
    layers: tuple[int, ...] = ()
    intra_weight: float = 1.0
    inter_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__init__()
        self.layers = tuple(self.layers)
        not_negative(intra_weight=self.intra_weight, inter_weight=self.inter_weight)
        sizes = (self.hidden_size, *self.layers)
        self.trunk = perceptron(sizes)
        # No bias: a constant reward is not identified.
        self.score = nn.Linear(sizes[-1], 1, bias=False)

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 1]: the reward."""
        return Embedded(self.score(self.trunk(batch.candidates)), batch.candidates, batch.prompt, batch.mask)

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K]; the same for every annotator."""
        return embedded.values[..., 0]

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]."""
        reward = self.reward(embedded)
        losses = mean_over_wins(logistic(differences(reward), 0.0), wins_of(judged), judged)
        inter = (judged.is_role(BASE_PROMPT) & judged.mask).any(dim=1)
        groups = judged.group or (None,) * len(losses)
        intra = torch.tensor([group == INTRA for group in groups], device=losses.device) & ~inter
        losses = torch.where(intra, self.intra_weight * losses, losses)
        if not bool(inter.any()):
            return losses
        chosen, rejected = judged.helpers(BASE_PROMPT, 2, reward, inter).unbind(dim=1)
        widened = reward[inter, 0] - reward[inter, 1] - (chosen - rejected)
        return losses.index_put((inter,), -self.inter_weight * logsigmoid(widened))
