"""WPO: pairs are weighted by how likely the policy itself would be to write them; wraps any loss of pairs.

Source: Zhou et al. 2024, arXiv 2406.11827, eq. 5 and 6.

    L = W L_base,    W = min(1, exp(m_w + m_l)),    m = mean over tokens of [log p(y_t) - log sum_v p(v)^2]

without gradient through W. The subtracted term aligns weights: an answer sampled from the policy has m near 0,
whatever the temperature of its distribution. Some tools leave out the bound or the alignment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from assent.errors import InputError
from assent.objectives.dpo import DPO
from assent.objectives.judged import Judged, Needs
from assent.objectives.registry import Objective


@dataclass(eq=False)
class WPO(nn.Module):
    """Weighted preference optimization around a pairwise objective.

    Args:
        base: the objective whose pairs are weighted.
        bounded: whether weights stop at 1.
        aligned: whether the policy's own mean log-probability is subtracted.
    """

    own_needs: ClassVar[Needs] = Needs(pairs=True, statistics=("log_sum_p2",))
    base: Objective = field(default_factory=lambda: DPO(beta=0.01))
    bounded: bool = True
    aligned: bool = True

    def __post_init__(self) -> None:
        super().__init__()
        if not self.base.needs.pairs:
            raise ValueError("wpo weights pairs, and its base does not take pairs")

    @property
    def needs(self) -> Needs:
        """What the base needs, and the policy's sum of squared probabilities where weights are aligned."""
        return self.base.needs | (self.own_needs if self.aligned else Needs(pairs=True))

    def forward(self, batch: Judged) -> Tensor:
        """Returns the weighted loss of each comparison, [B] or [B, M]."""
        loss = self.base(batch)
        if loss.dim() == 0:
            raise InputError("wpo needs a loss for each pair; its base has one for the step only")
        weight = self.weight(batch)
        return loss * (weight if loss.dim() == 1 else weight.unsqueeze(1))

    def weight(self, batch: Judged) -> Tensor:
        """[B] how typical the pair is of the policy, without gradient."""
        batch.require_pairs()
        policy = batch.policy.detach()
        typical = policy.tokens - policy.statistic("log_sum_p2") if self.aligned else policy.tokens
        mean = policy.total(typical, policy.completion_positions) / policy.length.clamp(min=1)
        log_weight = mean[:, 0] + mean[:, 1]
        # e^80 is finite in float32: an unbounded weight may be huge, not infinite.
        return log_weight.clamp(max=0.0 if self.bounded else 80.0).exp()
