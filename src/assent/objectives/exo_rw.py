"""EXO for lists: the reverse KL divergence from the policy's ranking to the rewards'.

Source: Ji et al. 2024, arXiv 2402.00856, eq. 13.

    L = KL( softmax(beta h) || softmax(s / t) ),    h = log policy - log reference in nats, s the judge's scores

over the judged candidates of each comparison; t = `reward_temperature`. Mode-seeking: the policy's own share
stands outside, so answers it does not use cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs
from assent.objectives.lists import judged_scores, kept, masked_log_softmax


@dataclass(frozen=True)
class EXORW:
    """Efficient exact optimization against rewards.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        reward_temperature: score points that are worth one nat.
    """

    needs: ClassVar[Needs] = Needs(lists=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.1, 0.5)}
    beta: float = 0.1
    reward_temperature: float = 0.1

    def __post_init__(self) -> None:
        positive(beta=self.beta, reward_temperature=self.reward_temperature)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_lists()
        policy = masked_log_softmax(self.beta * batch.log_ratio, batch.judged)
        target = masked_log_softmax(judged_scores(batch) / self.reward_temperature, batch.judged)
        return kept(policy.exp() * (policy - target), batch.judged).sum(dim=1)
