"""RRHF: a hinge on every misordered pair of a list, plus imitation of the best answer; no reference.

Source: Yuan et al. 2023, arXiv 2304.05302, eq. 2 to 4.

    L = w sum over s_i < s_j of max(0, p_i - p_j) - log pi(y_best),    p = log pi / |y|^a

The imitation is a sum over tokens in the paper and a mean in the released code (`average_sft`), whose |y| is, by
a slip, the padded length. Where two answers are exactly as likely the hinge has a kink; the slope taken there is 1,
which parts them, where the released code takes 0 and leaves them tied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from assent.objectives.checks import not_negative
from assent.objectives.judged import Judged, Needs
from assent.objectives.lists import differences, kept, ordered_pairs


@dataclass(frozen=True)
class RRHF:
    """Rank responses to align with human feedback.

    Args:
        rank_weight: weight w of the ranking term.
        length_penalty: power a of the length that log-probabilities are divided by.
        average_sft: imitation per token (true) or summed (false).
    """

    needs: ClassVar[Needs] = Needs(lists=True)
    rank_weight: float = 1.0
    length_penalty: float = 1.0
    average_sft: bool = False

    def __post_init__(self) -> None:
        not_negative(rank_weight=self.rank_weight, length_penalty=self.length_penalty)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        batch.require_lists()
        score = batch.policy.sum / batch.policy.length.clamp(min=1) ** self.length_penalty
        misordered = kept((-differences(score)).clamp(min=0), ordered_pairs(batch)).sum(dim=(1, 2))
        best = batch.policy.mean[:, 0] if self.average_sft else batch.policy.sum[:, 0]
        return self.rank_weight * misordered - best
