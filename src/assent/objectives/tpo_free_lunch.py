"""TPO: an image prefers its caption over an edited one; no image pairs needed.

Source: Xian, Li et al. 2025, arXiv 2509.25771; the exact form of the clip is ours.

    tdpo   l((beta / 2) [(m_l - r_l) - (m_w - r_w)])      one image, one draw, two captions; a pair of candidates
    tkto   s(-beta (g - Q)) matched, s(beta (g - Q)) mismatched,   g = r - m,   Q = max(0, step mean of g)

m, r = mean squared denoising errors of policy and reference, l(z) = -log s(z). The mismatched caption's error stops
counting once it is `negative_clip` above the reference's: unbounded, the model would just get worse on it. Log Z
of the two captions does not cancel and is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import one_of, positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class TPOFreeLunch:
    """Text preference optimization of diffusion models.

    Args:
        variant: pairs of captions (tdpo) or single labelled ones (tkto).
        beta: inverse temperature; errors are means over all elements, hence its size.
        negative_clip: rise of a mismatched error over the reference's beyond which it has no gradient.
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (500.0, 5000.0)}
    variant: Literal["tdpo", "tkto"] = "tdpo"
    beta: float = 2000.0
    negative_clip: float | None = None

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        one_of(("tdpo", "tkto"), variant=self.variant)
        if self.negative_clip is not None:
            positive(negative_clip=self.negative_clip)

    @property
    def needs(self) -> Needs:
        """Pairs or labels, and a reference; the whole step for tkto."""
        pairs = self.variant == "tdpo"
        return Needs(pairs=pairs, labels=not pairs, reference=True, batch=not pairs)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        gain = batch.mean_log_ratio
        clipped = gain if self.negative_clip is None else gain.clamp(min=-self.negative_clip)
        if self.variant == "tdpo":
            batch.require_pairs()
            return -logsigmoid(self.beta / 2 * (gain[:, 0] - clipped[:, 1]))
        moved = batch.mean_labelled(gain.detach()).clamp(min=0)
        good = batch.labels == 1
        signed = self.beta * torch.where(good, gain - moved, moved - clipped)
        return batch.labelled_mean((-signed).sigmoid()) * batch.labelled_share()
