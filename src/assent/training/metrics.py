"""Sums over the comparisons between two logs, reduced in one collective, under the names that TRL's users know.

    rewards/chosen, /rejected      beta times the log-ratio to the reference, best and worst judged answer (in
                                   unpaired data: means by label); without a reference beta times the mean
                                   log-probability per token, which is what such objectives compare
    rewards/margins, /accuracies   their difference, and how often it is positive
    logps/chosen, logps/rejected   summed log-probability of the answer, nats
    loss/<term>                    where an objective has several

Letters: B comparisons, K candidates, M terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from assent.objectives import Judged, Objective

PAIRED = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
)
WATCHED = ("log_ratio/chosen", "longer/policy", "longer/judge", "length/chosen", "length/rejected")
"""Numbers that the alarms read."""


def reward_scale(objective: Objective) -> float:
    """The beta of an objective, or of the first one in a sum that has one; 1 where there is none."""
    parts: Sequence[Any] = getattr(objective, "objectives", None) or (objective,)
    for part in parts:
        for holder in (part, getattr(part, "base", None)):
            beta = getattr(holder, "beta", None)
            if isinstance(beta, int | float) and not isinstance(beta, bool):
                return float(beta)
    return 1.0


class Metrics:
    """Collects sums and counts on the device, without ever waiting for it, until they are asked for.

    Args:
        objective: whose terms and beta are reported.
        device: where the sums are kept.
    """

    def __init__(self, objective: Objective, device: torch.device) -> None:
        terms = tuple(getattr(objective, "terms", None) or ())
        self.names = (*PAIRED, *WATCHED, *(f"loss/{term}" for term in terms), "comparisons", "tokens")
        self.beta = reward_scale(objective)
        # Sums of tokens leave float32's whole numbers behind; devices without float64 have to live with it.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums = torch.zeros(len(self.names), 2, dtype=dtype, device=device)

    def watch(self, judged: Judged, losses: Tensor) -> None:
        """Adds the comparisons that an objective saw; [B], [B, M] or scalar losses."""
        sums = self.sums
        for name, value, kept in self._values(judged, losses):
            row = sums[self.names.index(name)]
            row[0] += torch.where(kept, value, torch.zeros_like(value)).sum()
            row[1] += kept.sum()

    def _values(self, judged: Judged, losses: Tensor) -> list[tuple[str, Tensor, Tensor]]:
        everyone = judged.mask.any(dim=1)
        reward = self.beta * (judged.mean_log_ratio if judged.reference is None else judged.log_ratio)
        length = judged.policy.length
        found = [
            ("comparisons", everyone.to(reward.dtype), everyone),
            ("tokens", length.sum(dim=1), everyone),
        ]
        if losses.dim() == 2:
            names = [name for name in self.names if name.startswith("loss/")]
            found += [(name, losses[:, column], everyone) for column, name in enumerate(names)]
        if bool(judged.judged.any()):
            return found + self._paired(judged, reward)
        if bool(judged.labelled.any()):
            found += self._labelled(judged, reward)
        return found

    def _paired(self, judged: Judged, reward: Tensor) -> list[tuple[str, Tensor, Tensor]]:
        """Best and worst judged answers; ties and single answers count only where there is something to count."""
        chosen, worst = judged.judged[:, 0], (judged.judged.sum(dim=1) - 1).clamp(min=0)

        def last(values: Tensor) -> Tensor:
            return values.gather(1, worst.unsqueeze(1)).squeeze(1)

        pairs = chosen & (worst > 0) & (judged.scores[:, 0] > last(judged.scores))
        margin = reward[:, 0] - last(reward)
        length = judged.policy.length
        differing = pairs & (length[:, 0] != last(length))
        longer = length[:, 0] > last(length)
        ratio = judged.log_ratio[:, 0]
        return [
            ("rewards/chosen", reward[:, 0], chosen),
            ("rewards/rejected", last(reward), pairs),
            ("rewards/margins", margin, pairs),
            ("rewards/accuracies", (margin > 0).to(margin.dtype), pairs),
            ("logps/chosen", judged.policy.sum[:, 0], chosen),
            ("logps/rejected", last(judged.policy.sum), pairs),
            ("log_ratio/chosen", ratio, chosen if judged.reference is not None else torch.zeros_like(chosen)),
            ("longer/policy", (longer == (margin > 0)).to(margin.dtype), differing),
            ("longer/judge", longer.to(margin.dtype), differing),
            ("length/chosen", length[:, 0], chosen),
            ("length/rejected", last(length), pairs),
        ]

    def _labelled(self, judged: Judged, reward: Tensor) -> list[tuple[str, Tensor, Tensor]]:
        good, bad = judged.labelled & (judged.labels == 1), judged.labelled & (judged.labels == 0)
        found: list[tuple[str, Tensor, Tensor]] = []
        for side, kept in (("chosen", good), ("rejected", bad)):
            found += [(f"rewards/{side}", reward, kept), (f"logps/{side}", judged.policy.sum, kept)]
            found += [(f"length/{side}", judged.policy.length, kept)]
        if judged.reference is not None:
            found += [("log_ratio/chosen", judged.log_ratio, good)]
        return found

    def take(self, together: bool) -> dict[str, float]:
        """The means since the last call, of all ranks together; starts again from nothing."""
        sums = self.sums
        if together:
            dist.all_reduce(sums)
        numbers = sums.tolist()
        self.sums = torch.zeros_like(sums)
        means = {
            name: total / count
            for name, (total, count) in zip(self.names, numbers, strict=True)
            if count and name not in ("comparisons", "tokens")
        }
        if "rewards/margins" not in means and {"rewards/chosen", "rewards/rejected"} <= set(means):
            means["rewards/margins"] = means["rewards/chosen"] - means["rewards/rejected"]
        totals = dict(zip(self.names, numbers, strict=True))
        means["num_comparisons"] = totals["comparisons"][0]
        means["num_tokens"] = totals["tokens"][0]
        return {name: value for name, value in means.items() if math.isfinite(value)}
