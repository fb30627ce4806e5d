"""SPO: of two steps a sampler took from one state, the one a step-aware judge prefers gets likelier.

Source: Liang et al. 2024, arXiv 2406.04314, eq. 8; the clipped ratio is that of the released code.

    L = -log sigmoid(beta (log rho_w - log rho_l)),    rho = clip(pi / pi_ref, 1 - c, 1 + c)

pi = density of a step under the model, pi_ref under the frozen start; log pi is the mean over the elements of a
latent, which is what makes a clip of a few percent meaningful. Inside the clip this is DPO on steps. A ratio beyond
it has no gradient: where both are, the pair teaches nothing any more. Works on the pairs that `diffusion.rollout`
makes on the way, whose policy scores steps of the sampler instead of denoising errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class StepAware:
    """Step-aware preference optimization of diffusion models.

    Args:
        beta: inverse temperature on the log-ratio per element.
        clip: how far the ratio to the reference may leave 1, in (0, 1).
    """

    needs: ClassVar[Needs] = Needs(pairs=True, reference=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (1.0, 100.0)}
    beta: float = 10.0
    clip: float = 0.1

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        if not 0 < self.clip < 1:
            raise ValueError(f"clip must be in (0, 1), got {self.clip}")

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        # The log of the clipped ratio, taken without exponentiating: it overflows where models have drifted apart.
        clipped = batch.mean_log_ratio.clamp(math.log1p(-self.clip), math.log1p(self.clip))
        return -logsigmoid(self.beta * batch.margin(clipped))
