"""DPO: preference as a classification of the policy's own log-ratios.

Source: Rafailov et al. 2023, arXiv 2305.18290, eq. 7; f-divergences: Wang et al. 2023, arXiv 2309.16240;
label smoothing: Mitchell 2023, a note on conservative DPO (cDPO).

    L = (1 - e) l(z) + e l(-z),    z = beta (u(h_w) - u(h_l)),    l(z) = -log sigmoid(z)

h = log policy - log reference of a completion, in nats. The divergence chooses u:

    reverse_kl  u = h
    forward_kl  u = 1 - exp(-h)
    js          u = log 2 + log sigmoid(h)
    alpha       u = (exp((c - 1) h) - 1) / (c - 1),   c = `alpha_coefficient`; c -> 1 is reverse_kl

With reverse_kl only the margin counts: a constant added to both log-ratios changes nothing. A pair seen in one
order only has no finite optimum; with e > 0 it is z = logit(1 - e).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from assent.objectives.judged import Judged, Needs
from assent.objectives.logic import REFERENCED, Part

# exp overflows in float32 beyond 88; past 30 the transformed log-ratio has long decided the pair.
EXPONENT_LIMIT = 30.0


@dataclass(frozen=True)
class DPO:
    """Direct preference optimization, with label smoothing (cDPO) and other divergences (f-DPO).

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        label_smoothing: share of the pairs whose label is taken to be wrong, in [0, 1/2).
        divergence: what keeps the policy near the reference.
        alpha_coefficient: c of the alpha divergence, not 1.
    """

    needs = Needs(pairs=True, reference=True)
    beta: float = 0.1
    label_smoothing: float = 0.0
    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = "reverse_kl"
    alpha_coefficient: float = 0.5

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise ValueError(f"beta must be positive, got {self.beta}")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}")
        if self.divergence not in ("reverse_kl", "forward_kl", "js", "alpha"):
            raise ValueError(f"divergence must be reverse_kl, forward_kl, js or alpha, got {self.divergence!r}")
        if self.divergence == "alpha" and self.alpha_coefficient == 1:
            raise ValueError("alpha_coefficient 1 is reverse_kl; choose that divergence instead")

    @property
    def logic(self) -> tuple[Part, ...] | None:
        """Its preference structure."""
        plain = self.divergence == "reverse_kl" and self.label_smoothing == 0
        return (Part(REFERENCED, scale=self.beta),) if plain else None

    def __call__(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        margin = self.beta * batch.margin(self.transformed(batch.log_ratio))
        return -(1 - self.label_smoothing) * logsigmoid(margin) - self.label_smoothing * logsigmoid(-margin)

    def transformed(self, log_ratio: Tensor) -> Tensor:
        """[B, K] u(h) of the divergence."""
        if self.divergence == "forward_kl":
            return -(-log_ratio).clamp(max=EXPONENT_LIMIT).expm1()
        if self.divergence == "js":
            return log(2) + logsigmoid(log_ratio)
        if self.divergence == "alpha":
            power = self.alpha_coefficient - 1
            return (power * log_ratio).clamp(max=EXPONENT_LIMIT).expm1() / power
        return log_ratio
