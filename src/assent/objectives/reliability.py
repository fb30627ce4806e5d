"""Who can be trusted: EM over whether each label is right, given how a model ranks the pairs.

Source: Cao et al. 2025, arXiv 2509.24159, eq. 4 to 9. Nothing here knows how the model was obtained: a policy's
implicit rewards, a preference model's margins and a loss taken both ways all give log-odds.

A label is right with probability eta of its annotator, and the model holds the shown order right with probability
p; so the label is right, given both, with probability

    w = s(logit p + logit eta)                      s the sigmoid

and eta is the mean of w over the annotator's labels. Where the model is calibrated this converges to the true
reliability from any start in (0, 1), unless p = 1/2 for all pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assent.errors import InputError
from assent.objectives.judged import Judged

LOWEST, HIGHEST = 0.01, 0.99
"""Bounds of a reliability: at 0 and 1 no evidence could ever move it."""


@dataclass(frozen=True)
class Audit:
    """What EM found.

    Args:
        confidence: [N] probability that each label is right.
        reliability: share of right labels of each annotator.
        counts: how many labels each annotator gave.
        log_likelihood: of the shown orders, summed, at each iteration; it never falls.
    """

    confidence: Tensor
    reliability: dict[str, float]
    counts: dict[str, int]
    log_likelihood: tuple[float, ...]

    @property
    def noise_rate(self) -> float:
        """Expected share of wrong labels."""
        return float(1 - self.confidence.mean())

    def suspicious(self, count: int = 50) -> list[int]:
        """Indices of the labels that are most likely wrong, worst first."""
        return [int(index) for index in self.confidence.argsort(stable=True)[:count]]


def label_confidence(log_odds: Tensor, reliability: Tensor) -> Tensor:
    """[N] probability that each label is right, from the model's log-odds of its order and its annotator's eta."""
    return torch.sigmoid(log_odds + reliability.logit())


def log_likelihood(log_odds: Tensor, reliability: Tensor) -> Tensor:
    """[N] log-probability of the shown order: log(p eta + (1 - p)(1 - eta)), without forming p."""
    right = torch.nn.functional.logsigmoid(log_odds) + reliability.log()
    wrong = torch.nn.functional.logsigmoid(-log_odds) + (1 - reliability).log()
    return torch.logaddexp(right, wrong)


def annotators(batch: Judged) -> list[str]:
    """B names; one empty name for all where nobody is named."""
    return [name or "" for name in batch.annotator or (None,) * len(batch.mask)]


def moved_reliabilities(
    before: Mapping[str, float], annotators: Sequence[str], confidence: Sequence[float], momentum: float
) -> dict[str, float]:
    """The reliabilities after one step: each moved towards the mean confidence of its annotator's labels in it."""
    after = {}
    for name, value in before.items():
        own = [each for other, each in zip(annotators, confidence, strict=True) if other == name]
        moved = (1 - momentum) * value + momentum * sum(own) / len(own)
        after[name] = min(max(moved, LOWEST), HIGHEST)
        if after[name] < 0.5 <= value:
            who = f"annotator `{name}`" if name else "the annotators"
            logging.getLogger("assent").warning("lcpo: the policy disagrees with most labels of %s", who)
    return after


def estimate_reliability(
    log_odds: Tensor,
    annotators: Sequence[str | None] | None = None,
    *,
    initial: float = 0.9,
    iterations: int = 100,
    tolerance: float = 1e-8,
) -> Audit:
    """The audit of labels whose order a model holds right with the given log-odds ([N]); full EM, no training.

    Args:
        log_odds: [N] the model's log-odds that the preferred candidate is better.
        annotators: who gave each label; one for all where not known.
        initial: reliability to start from, in (1/2, 1).
        iterations: at most so many EM steps.
        tolerance: stop once no reliability moves further than this.
    """
    if log_odds.dim() != 1 or not len(log_odds):
        raise InputError("an audit needs one log-odds per comparison", found=str(tuple(log_odds.shape)))
    if not bool(log_odds.isfinite().all()):
        raise InputError("an audit needs finite log-odds", found=str(float(log_odds[~log_odds.isfinite()][0])))
    if not 0.5 < initial < 1:
        raise InputError("the initial reliability is a probability above 1/2", found=str(initial))
    names = [name or "" for name in annotators] if annotators is not None else [""] * len(log_odds)
    known = sorted(set(names))
    index = torch.tensor([known.index(name) for name in names]) if len(known) > 1 else torch.zeros(len(names)).long()
    log_odds = log_odds.detach().double().cpu()
    counts = torch.bincount(index, minlength=len(known)).double()
    reliability = torch.full((len(known),), initial, dtype=torch.float64)
    history = []
    for _ in range(iterations):
        history.append(float(log_likelihood(log_odds, reliability[index]).sum()))
        confidence = label_confidence(log_odds, reliability[index])
        sums = torch.zeros_like(counts).index_add(0, index, confidence)
        moved = (sums / counts).clamp(LOWEST, HIGHEST)
        done = bool((moved - reliability).abs().max() < tolerance)
        reliability = moved
        if done:
            break
    return Audit(
        confidence=label_confidence(log_odds, reliability[index]),
        reliability={name: float(value) for name, value in zip(known, reliability, strict=True)},
        counts={name: int(count) for name, count in zip(known, counts, strict=True)},
        log_likelihood=tuple(history),
    )
