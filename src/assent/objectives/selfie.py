"""Selfie: DPO with smoothed labels for the pairs that a more aligned model doubts.

Source: Kim et al. 2024, arXiv 2406.04412, eq. 5 to 9 (spread preference annotation).

    L = -(1 - a f) log s(m) - a f log s(-m),    m = beta (h_w - h_l)
    f = 1 where the detection margin m~ <= tau, else 0, without gradient

m~ is m under the extrapolated model log p~ = log softmax((1 + c) policy logits - c reference logits): judging the
policy by itself would be circular. tau is a running quantile of m~ such that a share `flagged` of the pairs falls
below it. Nothing is flagged in the first `warmup` of the run. A flagged pair is drawn to margin log((1 - a) / a).
c = 0 judges the policy by itself. The paper lowers c from 1/2 to 1/4 and 1/8 over its rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from assent.objectives.checks import below_half, not_negative, positive, share
from assent.objectives.judged import Judged, Needs


@dataclass(eq=False)
class Selfie(nn.Module):
    """Noise-aware DPO on self-labelled pairs.

    Args:
        beta: inverse temperature of the implicit reward, in 1/nat.
        smoothing: label smoothing a of flagged pairs, in [0, 1/2].
        flagged: share of the pairs that is flagged, in [0, 1/2).
        extrapolation: how far beyond the policy the detecting model lies (c).
        warmup: share of the run in which nothing is flagged.
        window: how many margins the running quantile remembers.
    """

    usual: ClassVar[dict[str, tuple[float, float]]] = {"beta": (0.05, 0.5)}
    beta: float = 0.1
    smoothing: float = 0.1
    flagged: float = 0.1
    extrapolation: float = 0.5
    warmup: float = 0.2
    window: int = 512

    def __post_init__(self) -> None:
        super().__init__()
        positive(beta=self.beta, window=self.window)
        not_negative(extrapolation=self.extrapolation)
        share(warmup=self.warmup, smoothing=2 * self.smoothing)
        below_half(flagged=self.flagged)
        self.margins: Tensor
        self.register_buffer("margins", torch.full((self.window,), torch.nan))

    @property
    def needs(self) -> Needs:
        """Pairs, the whole step, and the extrapolated model's log-probabilities of the scored tokens."""
        live = self.extrapolation > 0
        statistics = (f"extrapolated:{self.extrapolation:g}",) if live else ()
        return Needs(pairs=True, reference=True, live_reference=live, statistics=statistics, batch=True)

    def forward(self, batch: Judged) -> Tensor:
        """Returns the loss of each comparison, [B]."""
        detected = self.detection_margin(batch)
        if self.training:
            self.margins.copy_(torch.cat([self.margins, detected.to(self.margins)])[-self.window :])
        return self.loss(batch, (detected <= self.threshold()) & (batch.progress > self.warmup))

    def loss(self, batch: Judged, doubted: Tensor) -> Tensor:
        """[B] the loss where the given pairs ([B]) are flagged."""
        margin = self.beta * batch.margin()
        smoothing = self.smoothing * doubted.to(margin.dtype)
        return -(1 - smoothing) * logsigmoid(margin) - smoothing * logsigmoid(-margin)

    def detection_margin(self, batch: Judged) -> Tensor:
        """[B] the margin under the extrapolated model, without gradient."""
        policy = batch.policy.detach()
        if self.extrapolation == 0:
            return self.beta * batch.margin().detach()
        tokens = policy.statistic(self.needs.statistics[0])
        sums = policy.total(tokens, policy.completion_positions)
        return self.beta * batch.margin(sums if batch.reference is None else sums - batch.reference.sum.detach())

    def threshold(self) -> Tensor:
        """The quantile of the margins seen; NaN, which flags nothing, before any was."""
        return self.margins.nanquantile(self.flagged)
