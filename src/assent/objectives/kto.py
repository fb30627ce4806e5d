"""KTO: each labelled answer against a reference point, on a curve that flattens for gains and for losses.

Source: Ethayarajh et al. 2024, arXiv 2402.01306.

    good:  L = w_good (1 - s(beta (h - z)))        bad:  L = w_bad (1 - s(beta (z - h)))
    z = max(0, mean over the step of h(y' | x)),   no gradient through z

h = log policy - log reference, s the sigmoid, y' an answer that belongs to another prompt (role `mismatched`):
z then estimates how far the policy has moved from the reference. `reference_point: batch_mean` takes the answers
themselves for y', which costs no extra forward pass and overestimates z. A step's loss is the mean over its
labelled comparisons; unlabelled ones count nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from assent.objectives.checks import not_negative, one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class KTO:
    """Kahneman-Tversky optimization from thumbs up and down.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        desirable_weight: weight of good answers; the paper keeps the ratio of the weighted counts, good to bad,
            in 1..4/3.
        undesirable_weight: weight of bad answers.
        reference_point: whose log-ratio is the reference point: answers of other prompts (mismatched), or the
            step's own answers (batch_mean).
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    reference_point: Literal["mismatched", "batch_mean"] = "mismatched"

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(desirable_weight=self.desirable_weight, undesirable_weight=self.undesirable_weight)
        one_of(("mismatched", "batch_mean"), reference_point=self.reference_point)

    @property
    def needs(self) -> Needs:
        """Labels, a reference and the whole step; mismatched answers where they are the reference point."""
        helpers = ("mismatched",) if self.reference_point == "mismatched" else ()
        return Needs(labels=True, reference=True, helpers=helpers, batch=True)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]; its mean is the mean over the labelled ones."""
        gain = self.beta * (batch.log_ratio - self.moved(batch))
        good = batch.labels == 1
        # 1 - s(z) = s(-z), without the cancellation.
        loss = torch.where(
            good, self.desirable_weight * torch.sigmoid(-gain), self.undesirable_weight * torch.sigmoid(gain)
        )
        return batch.labelled_mean(loss) * batch.labelled_share()

    def moved(self, batch: Judged) -> Tensor:
        """The reference point z, in nats; a scalar without gradient."""
        log_ratio = batch.log_ratio.detach()
        if self.reference_point == "mismatched":
            return batch.helper("mismatched", log_ratio).mean().clamp(min=0)
        return batch.mean_labelled(log_ratio).clamp(min=0)
