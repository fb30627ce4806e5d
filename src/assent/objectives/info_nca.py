"""InfoNCA: cross-entropy between the rewards' softmax and the policy's, over a list.

Source: Chen et al. 2024, arXiv 2402.05369, eq. 10.

    L = - sum_k softmax(s / t)_k log softmax(beta h)_k,    h = log policy - log reference in nats, s the scores

over the judged candidates; t = `reward_temperature`. Two candidates and a hard target are DPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.lists import judged_scores, kept, masked_log_softmax


@dataclass(frozen=True)
class InfoNCA:
    """Noise contrastive alignment of relative likelihoods.

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
        policy = masked_log_softmax(self.beta * batch.log_ratio, batch.judged)
        return -kept(target * policy, batch.judged).sum(dim=1)
