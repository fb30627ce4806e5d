"""The reliability of two annotators is found, and the policy is better for it

A tabular policy, 20 prompts with 8 answers, rewards 2 N(0, 1), orders drawn from Bradley-Terry; one annotator flips
5% of them, the other 35%. beta 1, uniform reference, full-batch Adam 0.05. The target policy is proportional to
exp(reward). The audit takes the log-odds of the trained policy and asks which labels were flipped.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assent.objectives.reliability import estimate_reliability
from experiments._tabular import batch_of, train
from experiments.osp import divergence

EXPECTED = {
    "eta_careful": "0.952 to 0.962 (truth 0.95)",
    "eta_careless": "0.646 to 0.661 (truth 0.65)",
    "kl_lcpo": "0.02 to 0.04",
    "kl_dpo": "0.40 to 0.55",
    "audit_auc": "0.87 to 0.91",
}
CLAIMS = {
    "both reliabilities within 0.03": lambda n: (
        abs(n["eta_careful"] - 0.95) < 0.03 and abs(n["eta_careless"] - 0.65) < 0.03
    ),
    "a fifth of DPO's distance from the target": lambda n: n["kl_lcpo"] <= 0.2 * n["kl_dpo"],
    "flipped labels are told apart": lambda n: n["audit_auc"] > 0.85,
}
QUICK: dict[str, Any] = {"steps": 20, "count": 500}


def run(seed: int, steps: int = 600, count: int = 10000) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    reward = 2 * torch.randn(20, 8, generator=generator, dtype=torch.float64)
    prompts = torch.randint(0, 20, (2 * count,), generator=generator)
    answers = torch.stack([torch.randperm(8, generator=generator)[:2] for _ in range(2 * count)])
    gaps = reward[prompts, answers[:, 0]] - reward[prompts, answers[:, 1]]
    wins = torch.rand(2 * count, generator=generator, dtype=torch.float64) < gaps.sigmoid()
    rate = torch.tensor([0.05, 0.35]).repeat_interleave(count)
    flipped = torch.rand(2 * count, generator=generator) < rate
    answers = torch.where((wins != flipped).unsqueeze(1), answers, answers.flip(1))
    names = ("careful",) * count + ("careless",) * count
    scores = torch.tensor([[1.0, 0.0]]).expand(2 * count, 2)

    def make(table: Tensor) -> Any:
        return batch_of(table, prompts, answers, scores, annotator=names)

    robust, objective = train({"lcpo": {"base": {"dpo": {"beta": 1.0}}}}, make, (20, 8), steps, rate=0.05)
    plain, _ = train({"dpo": {"beta": 1.0}}, make, (20, 8), steps, rate=0.05)
    audit = estimate_reliability(make(robust).margin(), names)
    order = audit.confidence.argsort()
    ranks = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    clean, bad = (~flipped).sum(), flipped.sum()
    area = (ranks[~flipped].double().sum() - clean * (clean - 1) / 2) / (clean * bad)
    return {
        "eta_careful": objective.reliabilities["careful"],
        "eta_careless": objective.reliabilities["careless"],
        "audit_careful": audit.reliability["careful"],
        "audit_careless": audit.reliability["careless"],
        "kl_lcpo": divergence(robust, reward),
        "kl_dpo": divergence(plain, reward),
        "audit_auc": float(area),
    }
