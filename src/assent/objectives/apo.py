"""APO: preference anchored to where the policy stands relative to the answers.

Source: D'Oosterlinck et al. 2024, arXiv 2408.06266, eq. 2 and 3.

    zero   L = 1 - s(r_w) + s(r_l)               for answers better than the policy's own: lifts the chosen one
    down   L = s(r_w) + 1 - s(r_w - r_l)         for a policy better than the answers: lowers both

r = beta (log policy - log reference), s the sigmoid. In `down` the gradient on the chosen answer is exactly 0 at
the start. `paired: false` takes single labelled answers: good 1 - s(r), bad s(r), that is KTO anchored at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from assent.objectives.checks import one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class APO:
    """Anchored preference optimization.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        variant: zero, for answers better than the policy's; down, for a policy better than the answers.
        paired: pairs (true) or single labelled answers (false, only with zero).
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    variant: Literal["zero", "down"] = "zero"
    paired: bool = True

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        one_of(("zero", "down"), variant=self.variant)
        if self.variant == "down" and not self.paired:
            raise ValueError("variant down compares two answers; it has no unpaired form")

    @property
    def needs(self) -> Needs:
        """Pairs or labels, and a reference."""
        return Needs(pairs=self.paired, labels=not self.paired, reference=True)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        # 1 - s(z) = s(-z), without the cancellation.
        reward = self.beta * batch.log_ratio
        if not self.paired:
            return batch.labelled_mean(torch.where(batch.labels == 1, -reward, reward).sigmoid())
        batch.require_pairs()
        chosen, rejected = reward[:, :2].unbind(dim=1)
        if self.variant == "zero":
            return (-chosen).sigmoid() + rejected.sigmoid()
        return chosen.sigmoid() + (rejected - chosen).sigmoid()
