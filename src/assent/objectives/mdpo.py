"""mDPO: DPO that must also prefer the answer under the right image, and may not lose it.

Source: Wang et al. 2024, arXiv 2406.11839, eq. 3 to 6.

    text     l(beta (h(y_w | v) - h(y_l | v)))
    image    l(beta (h(y_w | v) - h(y_w | v')))        v' = the image with all but a crop taken away
    anchor   l(beta h(y_w | v) - delta)

h = log policy - log reference in nats, l(z) = -log sigmoid(z). The chosen answer under v' is a helper of role
`corrupted_image`. Plain DPO can reach the same accuracy without looking at the image.
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
class MDPO:
    """Multimodal DPO: a column for text, image and anchor.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        delta: reward that the chosen answer must reach.
        image_weight: weight of the image term.
        anchor_weight: weight of the anchor.
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True, helpers=("corrupted_image",))
    terms: ClassVar[tuple[str, ...]] = ("text", "image", "anchor")
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    delta: float = 0.0
    image_weight: float = 1.0
    anchor_weight: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(image_weight=self.image_weight, anchor_weight=self.anchor_weight)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the three losses of each comparison, [B, 3]."""
        chosen = batch.log_ratio[:, 0]
        text = -logsigmoid(self.beta * batch.margin())
        image = -logsigmoid(self.beta * (chosen - batch.helper("corrupted_image", batch.log_ratio)))
        anchor = -logsigmoid(self.beta * chosen - self.delta)
        return torch.stack([text, self.image_weight * image, self.anchor_weight * anchor], dim=1)
