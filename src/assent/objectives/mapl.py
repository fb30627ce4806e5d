"""MAPL: one answer under two prompts, and preference gaps that must grow with the instructions.

Source: Sun et al. 2025, arXiv 2505.12845; the inter-sample formula is ours, the paper states its goal only.

    preference   l(r(x, y_w) - r(x, y_l))
    intra        l(r(x_w, y) - r(x_l, y))          one answer y; prompt x_w is the one it satisfies better
    inter        l(gap(x') - gap(x)),              gap(x) = r(x, y_w) - r(x, y_l); x' = x + what only y_w satisfies

r = beta (log policy - log reference), l(z) = -log sigmoid(z). A comparison in group `intra` is an intra pair: its two
candidates bring their own prompts. One with two helpers of role `base_prompt` (the chosen and the rejected answer
under x, in this order) is an inter pair; all others are preferences. In the intra term log Z of the two prompts does
not cancel and is dropped. A model that ignores prompts stays at log 2 in both. A reward model uses the same loss
with its rewards as log-ratios and beta 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import not_negative, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class MAPL:
    """Multi-level aware preference learning; a column for each level, 0 where it does not apply.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        intra_weight: weight of the pairs of prompts.
        inter_weight: weight of the pairs of gaps.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    terms: ClassVar[tuple[str, ...]] = ("preference", "intra", "inter")
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 1.0)}
    beta: float = 0.1
    intra_weight: float = 1.0
    inter_weight: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(intra_weight=self.intra_weight, inter_weight=self.inter_weight)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison at each level, [B, 3]."""
        margin = self.beta * batch.margin()
        helper = batch.is_role("base_prompt") & batch.mask
        inter = helper.any(dim=1)
        base = torch.zeros_like(margin)
        if bool(inter.any()):
            base = base.index_put((inter,), self.base_gap(batch, inter))
        groups = batch.group or (None,) * len(margin)
        intra = torch.tensor([group == "intra" for group in groups], device=margin.device) & ~inter
        plain = -logsigmoid(margin)
        zero = torch.zeros_like(plain)
        levels = [
            torch.where(~intra & ~inter, plain, zero),
            self.intra_weight * torch.where(intra, plain, zero),
            self.inter_weight * torch.where(inter, -logsigmoid(margin - base), zero),
        ]
        return torch.stack(levels, dim=1)

    def base_gap(self, batch: Judged, rows: Tensor) -> Tensor:
        """[R] the gap under the base prompt, of the given comparisons."""
        chosen, rejected = batch.helpers("base_prompt", 2, batch.log_ratio, rows).unbind(dim=1)
        return self.beta * (chosen - rejected)
