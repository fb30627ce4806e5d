"""Weighting by the density ratio of prompts removes what only the prompts of good and bad answers differ in

4000 good and 4000 bad answers; prompts are code with probability 0.3 (good) or 0.7 (bad), told by a four-dimensional
embedding; quality q ~ N(+-0.7, 1), a spurious feature f that code has in 80% and other prompts in 20% of the cases.
Reward = theta (q, f - 1/2), Adam 0.05, 400 steps. The ratio comes from a logistic regression on the embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from assent.likelihood import Likelihoods
from experiments._worlds import fitted, judged

EXPECTED = {
    "quality_plain": "1.40 to 1.42",
    "spurious_plain": "-1.01 to -0.87",
    "quality_weighted": "1.38 to 1.42",
    "spurious_weighted": "-0.27 to -0.12",
    "mean_ratio": "0.95 to 1.05",
    "correlation": "> 0.8",
}
CLAIMS = {
    "the spurious weight falls below 35%": lambda n: abs(n["spurious_weighted"]) < 0.35 * abs(n["spurious_plain"]),
    "the weight of quality stays within 5%": lambda n: abs(n["quality_weighted"] / n["quality_plain"] - 1) < 0.05,
    "the mean ratio is 1": lambda n: abs(n["mean_ratio"] - 1) < 0.05,
    "the ratio is found": lambda n: n["correlation"] > 0.8,
}
QUICK: dict[str, Any] = {"steps": 20, "count": 300}


def run(seed: int, steps: int = 400, count: int = 4000) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    good = torch.arange(2 * count) < count
    code = torch.rand(2 * count, generator=generator) < torch.where(good, 0.3, 0.7)
    embedding = torch.randn(2 * count, 4, generator=generator)
    embedding[:, 0] += torch.where(code, 2.0, -2.0)
    quality = torch.randn(2 * count, generator=generator) + torch.where(good, 0.7, -0.7)
    spurious = (torch.rand(2 * count, generator=generator) < torch.where(code, 0.8, 0.2)).float() - 0.5
    features = torch.stack([quality, spurious], dim=1).double()
    share = LogisticRegression().fit(embedding, good).predict_proba(embedding)[:, 1]
    ratio = share / (1 - share)
    plain, weighted = (theta(features, good, given, steps) for given in (np.ones_like(ratio), ratio))
    true = torch.where(code, 0.3 / 0.7, 0.7 / 0.3).numpy()
    bad = (~good).numpy()
    return {
        "quality_plain": float(plain[0]),
        "spurious_plain": float(plain[1]),
        "quality_weighted": float(weighted[0]),
        "spurious_weighted": float(weighted[1]),
        "mean_ratio": float(ratio[bad].mean()),
        "correlation": float(np.corrcoef(ratio[bad], true[bad])[0, 1]),
    }


def theta(features: Tensor, good: Tensor, ratio: Any, steps: int) -> Tensor:
    """The weights of the two features after training on thumbs up and down."""
    labels, ratios = good.long().unsqueeze(1), ratio.tolist()
    nothing = torch.zeros(len(features), 1, dtype=torch.float64)

    def make(theta: Tensor) -> Any:
        policy = Likelihoods.from_sums((features @ theta).unsqueeze(1))
        unjudged = torch.full_like(nothing, torch.nan)
        return judged(policy, nothing, unjudged, labels=labels, extra={"density_ratio": ratios})

    # The whole data is in every step, so that its own means are the right ones and none need be remembered.
    spec = {"bco": {"beta": 1.0, "running": False}}
    return fitted(spec, make, {"theta": torch.zeros(2, dtype=torch.float64)}, steps, rate=0.05)["theta"]
