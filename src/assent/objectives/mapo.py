"""MaPO: denoising the winner, plus a margin of bounded scores; no reference.

Source: Hong et al. 2024, arXiv 2406.06424; the score is that of the released code.

    L = m_w + beta l(T (s(k m_w) - s(k m_l))),    s(u) = u / (e^u - 1),    l(z) = -log sigmoid(z)

m = mean squared denoising error. s is 1 for a perfect prediction and falls to 0; its slope at 0 is -1/2, so at
first this is Diffusion-DPO without reference at beta T k / 2. Once the margin is wide only denoising is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.checks import positive
from assent.objectives.judged import Judged, Needs


@dataclass(frozen=True)
class MaPO:
    """Margin-aware preference optimization of diffusion models.

    Args:
        beta: weight of the margin term.
        snr: factor k on the errors inside the score.
        timesteps: factor T on the margin, the number of training timesteps.
    """

    needs: ClassVar[Needs] = Needs(pairs=True)
    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    snr: float = 0.5
    timesteps: float = 1000.0

    def __post_init__(self) -> None:
        positive(beta=self.beta, snr=self.snr, timesteps=self.timesteps)

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        error = -batch.policy.mean
        margin = self.timesteps * batch.margin(bounded_score(self.snr * error))
        return error[:, 0] - self.beta * logsigmoid(margin)


def bounded_score(error: Tensor) -> Tensor:
    """u / (e^u - 1) of any shape: by its series near 0, where the quotient is 0 / 0, and without overflow far out."""
    near = error.abs() < 1e-3
    far = torch.where(near, torch.ones_like(error), error)
    series = 1 - error / 2 + error.square() / 12
    return torch.where(near, series, far * (-far).exp() / -(-far).expm1())
