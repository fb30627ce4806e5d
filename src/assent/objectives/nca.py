"""NCA: InfoNCA's sibling that also holds each answer's absolute likelihood.

Source: Chen et al. 2024, arXiv 2402.05369, eq. 12.

    L = - sum_k [ softmax(s / t)_k log sigmoid(r_k) + log sigmoid(-r_k) / K ],   r = beta (log policy - log reference)

over the K judged candidates; s the scores, t = `reward_temperature`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.lists import judged_scores, kept, masked_log_softmax


@dataclass(frozen=True)
class NCA:
    """Noise contrastive alignment of absolute likelihoods.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        reward_temperature: score points that are worth one nat (the paper's alpha).
    """

    needs: ClassVar[Needs] = Needs(lists=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.01, 0.1)}
    beta: float = 0.01
    reward_temperature: float = 0.5

    def __post_init__(self) -> None:
        positive(beta=self.beta, reward_temperature=self.reward_temperature)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_lists()
        target = masked_log_softmax(judged_scores(batch) / self.reward_temperature, batch.judged).exp()
        reward = self.beta * batch.log_ratio
        count = batch.judged.sum(dim=1, keepdim=True)
        return -kept(target * logsigmoid(reward) + logsigmoid(-reward) / count, batch.judged).sum(dim=1)
