"""LCPO: any pairwise loss, with every label trusted as far as it deserves.

Source: Cao et al. 2025, arXiv 2509.24159, eq. 5 to 9 (RE-PO in later versions).

    logit p = l(swapped) - l(shown)            what the base loss l implies of the noise-free order
    w       = s(logit p + logit eta)           probability that the label is right, without gradient; s the sigmoid
    likelihood      L = -w log p - (1 - w) log(1 - p)
    weighted_loss   L = w l(shown) + (1 - w) l(swapped)
    eta    <- (1 - a) eta + a mean of w over the annotator's comparisons of the step

For DPO the two modes agree. eta belongs to an annotator, or to all where nobody is named. Real disagreement looks
like noise here. The target w moves, so losses of different steps cannot be compared: watch the reliabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from assent.errors import InputError
from assent.objectives.checks import one_of, share
from assent.objectives.dpo import DPO
from assent.objectives.judged import Judged, Needs
from assent.objectives.registry import Objective
from assent.objectives.reliability import annotators, label_confidence, moved_reliabilities


@dataclass(eq=False)
class LCPO(nn.Module):
    """Latent collective preference optimization around a pairwise objective.

    Args:
        base: the pairwise objective that is made robust.
        reliability: share of right labels assumed at the start, in (1/2, 1].
        momentum: how far each step moves the reliabilities (a).
        mode: likelihood of the implied preference, or weighted_loss.
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"momentum": (0.01, 0.5)}
    base: Objective = field(default_factory=DPO)
    reliability: float = 0.9
    momentum: float = 0.1
    mode: Literal["likelihood", "weighted_loss"] = "likelihood"

    def __post_init__(self) -> None:
        super().__init__()
        if not self.base.needs.pairs or self.base.needs.helpers or hasattr(self.base, "terms"):
            raise ValueError("lcpo wraps a loss of plain pairs: no lists, labels, helper candidates or several terms")
        if not 0.5 < self.reliability <= 1:
            raise ValueError(f"reliability must be in (0.5, 1], got {self.reliability}")
        share(momentum=self.momentum)
        one_of(("likelihood", "weighted_loss"), mode=self.mode)
        self.reliabilities: dict[str, float] = {}
        self.confidences: dict[str, float] = {}

    @property
    def needs(self) -> Needs:
        """What the base needs; the whole step, since reliabilities are updated once in it."""
        return self.base.needs | Needs(batch=True)

    def forward(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        shown, swapped = self.base(batch), self.base(batch.swapped())
        if shown.dim() != 1:
            raise InputError("lcpo needs a loss for each pair; its base has none")
        log_odds = swapped - shown
        right = label_confidence(log_odds.detach(), self.trust(batch).to(log_odds))
        if self.training:
            self.learn(batch, right)
        if self.mode == "weighted_loss":
            return right * shown + (1 - right) * swapped
        return -right * logsigmoid(log_odds) - (1 - right) * logsigmoid(-log_odds)

    def trust(self, batch: Judged) -> Tensor:
        """[B] the reliability of each comparison's annotator."""
        known = [self.reliabilities.get(name, self.reliability) for name in annotators(batch)]
        return torch.tensor(known, dtype=torch.float64)

    def learn(self, batch: Judged, right: Tensor) -> None:
        """Moves the reliabilities of the annotators present, and remembers how far each comparison is trusted."""
        names = annotators(batch)
        known = {name: self.reliabilities.get(name, self.reliability) for name in names}
        self.reliabilities |= moved_reliabilities(known, names, right.tolist(), self.momentum)
        self.confidences.update(zip(batch.ids, right.tolist(), strict=False))

    def suspicious(self, count: int = 50) -> list[tuple[str, float]]:
        """Ids of the comparisons whose labels are most likely wrong and the probability that each is right."""
        return sorted(self.confidences.items(), key=lambda item: item[1])[:count]

    def get_extra_state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"reliabilities": dict(self.reliabilities), "confidences": dict(self.confidences)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores it."""
        self.reliabilities, self.confidences = dict(state["reliabilities"]), dict(state["confidences"])
