"""A policy tuned on general preferences reaches the closed form, beats its predecessor, and does not chase a cycle

20 prompts with 8 answers; preference scores between answers are those of unit vectors in four dimensions (Zhang et
al. 2024), s = v' R v / 0.5. A tabular policy from logits N(0, 1); in each of six iterations 200 lists of five
answers are drawn from it for every prompt, each answer is scored by its mean score against its list, itself
included, and the policy is fitted with beta 1 and itself as reference (Adam 0.05, 200 steps). The closed form is the
reference times exp(s / beta), s against the policy itself. Compared: all five answers of a list, whose targets are
four fifths of it, since an answer does not beat itself; and only the best and the worst, as the paper's runs keep,
which are chosen for being extreme. Then cycles of three, five and seven answers alone (s = 2 sin of the angle
between them), where every answer has the same reward for a scalar model, so that it could not move: how much the
best answer beats the mean of the iterates.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from assent.objectives import Judged
from experiments._worlds import fitted, judged

BETA, TEMPERATURE, LISTED, ITERATIONS = 1.0, 0.5, 5, 6
EXPECTED = {
    "left_all": "near 0 (closed form)",
    "least_gain": "> 0 (each iterate beats the one before)",
    "exploited_start": "as far as the start is from even",
    "exploited_last": "above the start's",
    "exploited_mean": "below the start's, towards 0",
}
CLAIMS = {
    "whole lists leave under a tenth of the way to the closed form": lambda n: n["left_all"] < 0.1,
    "best and worst alone go further than whole lists": lambda n: n["length_best_worst"] > n["length_all"],
    "every iterate beats its predecessor": lambda n: n["least_gain"] > 0,
    "on cycles iterates run outwards, and their mean inwards": lambda n: (
        n["exploited_mean"] < n["exploited_start"] < n["exploited_last"]
    ),
}
QUICK: dict[str, Any] = {"steps": 10, "drawn": 10, "iterations": 2}


def run(seed: int, steps: int = 200, drawn: int = 200, iterations: int = ITERATIONS) -> dict[str, float]:
    draw = torch.Generator().manual_seed(seed)
    vectors = torch.nn.functional.normalize(torch.randn(20, 8, 4, generator=draw, dtype=torch.float64), dim=-1)
    scores = antisymmetric(vectors) / TEMPERATURE
    start = torch.randn(20, 8, generator=draw, dtype=torch.float64).log_softmax(dim=1)
    closed = (start + against(start, scores) / BETA).log_softmax(dim=1)
    moved = divergence(closed, start)
    numbers = {}
    for name, kept in (("all", LISTED), ("best_worst", 2)):
        policy = iterated(start, scores, draw, steps, drawn, kept)
        numbers[f"left_{name}"] = divergence(closed, policy) / moved
        numbers[f"length_{name}"] = length(policy, start) / length(closed, start)
    policies = [start]
    for _ in range(iterations):
        policies.append(iterated(policies[-1], scores, draw, steps, drawn, LISTED))
    gains = [gain(after, before, scores) for before, after in itertools.pairwise(policies)]
    return numbers | {"least_gain": min(gains), **on_cycles(draw, steps, drawn, iterations)}


def on_cycles(draw: torch.Generator, steps: int, drawn: int, iterations: int) -> dict[str, float]:
    """How much the best single answer beats the start, the last iterate, and the mean of the iterates."""
    found: dict[str, list[float]] = {"exploited_start": [], "exploited_last": [], "exploited_mean": []}
    for size in (3, 5, 7):
        angles = 2 * math.pi * torch.arange(size, dtype=torch.float64) / size
        scores = (2 * torch.sin(angles.unsqueeze(1) - angles)).expand(7, size, size)
        policies = [torch.randn(7, size, generator=draw, dtype=torch.float64).log_softmax(dim=1)]
        for _ in range(2 * iterations):
            policies.append(iterated(policies[-1], scores, draw, steps, drawn, LISTED))
        mean = torch.stack(policies).exp().mean(dim=0).log()
        for name, policy in (("start", policies[0]), ("last", policies[-1]), ("mean", mean)):
            found[f"exploited_{name}"].append(float(against(policy, scores).amax(dim=1).mean()))
    return {name: sum(values) / len(values) for name, values in found.items()}


def antisymmetric(vectors: Tensor) -> Tensor:
    """[P, A, A] v_i' R v_j, R turning each pair of dimensions by a right angle."""
    turned = torch.stack([-vectors[..., 1::2], vectors[..., 0::2]], dim=-1).flatten(-2)
    return turned @ vectors.transpose(1, 2)


def against(policy: Tensor, scores: Tensor) -> Tensor:
    """[P, A] mean score of each answer against the policy's."""
    return (scores * policy.exp().unsqueeze(1)).sum(dim=2)


def gain(after: Tensor, before: Tensor, scores: Tensor) -> float:
    """Mean score of one policy's answers against another's."""
    return float((after.exp() * against(before, scores)).sum(dim=1).mean())


def divergence(target: Tensor, policy: Tensor) -> float:
    """KL of the target to the policy, mean over prompts."""
    return float((target.exp() * (target - policy)).sum(dim=1).mean())


def length(policy: Tensor, start: Tensor) -> float:
    """Root mean square of the log-ratios, without their mean over a prompt's answers."""
    ratio = policy - start
    return float((ratio - ratio.mean(dim=1, keepdim=True)).square().mean().sqrt())


def iterated(start: Tensor, scores: Tensor, draw: torch.Generator, steps: int, drawn: int, kept: int) -> Tensor:
    """The policy after one iteration, fitted to lists drawn from its start."""
    prompts = torch.arange(len(start)).repeat_interleave(drawn).unsqueeze(1)
    lists = torch.multinomial(start.exp(), LISTED * drawn, replacement=True, generator=draw).view(-1, LISTED)
    table = scores[prompts.unsqueeze(2), lists.unsqueeze(2), lists.unsqueeze(1)]
    means, order = table.mean(dim=2).sort(dim=1, descending=True)
    chosen = torch.linspace(0, LISTED - 1, kept).round().long()
    answers, targets = lists.gather(1, order)[:, chosen], means[:, chosen]
    reference = start[prompts, answers]

    def make(logits: Tensor) -> Judged:
        return judged(logits.log_softmax(dim=1)[prompts, answers], reference, targets)

    return fitted({"gpm": {"beta": BETA}}, make, {"logits": start}, steps, rate=0.05)["logits"].log_softmax(dim=1)
