"""SFT: imitation of the best answer.

    L = -log p(y | x)         divided by |y| (`normalise: answer`), by nothing (`none`), or by the mean length of
                              the step's targets (`step`)

`answer` gives every comparison the same say, `step` every token: it is the token mean over the batch that
supervised trainers usually report. The target is the best judged answer, or the first one where none is judged.
An answer labelled bad is never imitated: its comparison counts 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from assent.errors import InputError
from assent.objectives.checks import one_of
from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import CHOSEN, Part


@dataclass(frozen=True)
class SFT:
    """Supervised fine-tuning on the best (or only) answer of each comparison.

    Args:
        normalise: by what the log-probability is divided: its own length (answer), the mean length of the
            step's targets (step), or nothing (none).
    """

    normalise: Literal["answer", "step", "none"] = "answer"

    def __post_init__(self) -> None:
        one_of(("answer", "step", "none"), normalise=self.normalise)

    @property
    def needs(self) -> Needs:
        """A demonstration; the whole step where its lengths are averaged."""
        return Needs(demonstrations=True, batch=self.normalise == "step")

    @property
    def logic(self) -> tuple[Part, ...] | None:
        """Its preference structure."""
        return (Part(CHOSEN, per_token=self.normalise == "answer"),) if self.normalise != "step" else None

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        if not bool(batch.answers[:, 0].all()):
            raise InputError("SFT needs an answer in every comparison", found="only helper candidates")
        imitated = batch.labels[:, 0] != 0
        length = batch.policy.length[:, 0]
        if self.normalise == "step":
            length = torch.where(imitated, length, torch.zeros_like(length)).mean()
        nll = -batch.policy.sum[:, 0] if self.normalise == "none" else -batch.policy.sum[:, 0] / length.clamp(min=1)
        return torch.where(imitated, nll, torch.zeros_like(nll))
