"""Re-Align: DPO on answers, and the same on images, the rejected one being retrieved.

Source: Xing et al. 2025, arXiv 2502.13146, eq. 6 to 8 (their rDPO).

    text     l(beta (h(y_w | v) - h(y_l | v)))
    visual   l(beta (h(y_w | v) - h(y_w | v')))        v' = a similar image from the pool

h = log policy - log reference in nats, l(z) = -log sigmoid(z). The chosen answer under v' is a helper of role
`corrupted_image`. The released trainer sums each position's strongest competitor instead of the label in y_l and
under v'; that is not the paper's loss and not offered. text_weight 0 leaves image-contrast pairs alone.
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
class ReAlign:
    """DPO with a visual term: a column for text and for vision.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        text_weight: weight of the pair of answers.
        visual_weight: weight of the pair of images.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, helpers=("corrupted_image",))
    terms: ClassVar[tuple[str, ...]] = ("text", "visual")
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    text_weight: float = 1.0
    visual_weight: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(text_weight=self.text_weight, visual_weight=self.visual_weight)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the two losses of each comparison, [B, 2]."""
        retrieved = batch.helper("corrupted_image", batch.log_ratio)
        text = -logsigmoid(self.beta * batch.margin())
        visual = -logsigmoid(self.beta * (batch.log_ratio[:, 0] - retrieved))
        return torch.stack([self.text_weight * text, self.visual_weight * visual], dim=1)
