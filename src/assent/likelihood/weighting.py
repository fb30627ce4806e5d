"""How much a denoising error counts at each noise level, whatever the network predicts.

Sources: Ho et al. 2020, arXiv 2006.11239 (constant on epsilon); Hang et al. 2023, arXiv 2303.09556, eq. 8 (min-SNR);
for flow matching the same quantities, read off its path. As a factor on the network's own squared error l:

    constant   1
    noise      l_eps / l      epsilon 1             v a_t        sample a_t / (1 - a_t)    flow (1 - s)^2
    clean      l_x0 / l       epsilon 1 / SNR       v 1 - a_t    sample 1                  flow s^2
    min_snr    min(SNR, gamma) l_x0 / l = min(l_eps, gamma l_x0) / l

SNR = signal power over noise power. One network output has errors of very different sizes as noise, picture or
velocity, so the same beta is another strength in each; `noise` makes a v or flow model comparable with an epsilon
model. Written as a minimum of two factors, min_snr is finite where SNR is 0 (zero terminal SNR).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from assent.errors import InputError
from assent.likelihood.noising import Noising

Kind = Literal["constant", "noise", "clean", "min_snr"]


@dataclass(frozen=True)
class Weighting:
    """The weight of the error at each noise level.

    Args:
        kind: which of the four.
        gamma: of min_snr: signal-to-noise ratio from which a level counts no more; 5 in its paper.
    """

    kind: Kind = "constant"
    gamma: float = 5.0

    def __post_init__(self) -> None:
        if self.gamma <= 0:
            raise InputError("gamma must be positive", field="diffusion.weighting.gamma", found=str(self.gamma))

    def factor(self, noising: Noising, index: Tensor) -> Tensor:
        """[N] factors on the squared errors of rows at these noise levels."""
        signal, noise = noising.signal[index].square(), noising.noise[index].square()
        if self.kind == "constant":
            return torch.ones_like(signal)
        as_noise, as_clean = _readings(noising.prediction, signal, noise)
        if self.kind == "noise":
            return as_noise
        return as_clean if self.kind == "clean" else torch.minimum(as_noise, self.gamma * as_clean)


def _readings(prediction: str, signal: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """(l_eps / l, l_x0 / l) from the powers of signal and noise."""
    if prediction == "epsilon":
        return torch.ones_like(signal), noise / signal
    if prediction == "sample":
        return signal / noise, torch.ones_like(signal)
    return signal, noise
