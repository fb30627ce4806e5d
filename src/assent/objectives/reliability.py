"""Who can be trusted: EM over whether each label is right, given how a model ranks the pairs.

Source: Cao et al. 2025, arXiv 2509.24159, eq. 4 to 9. Nothing here knows how the model was obtained: a policy's
implicit rewards, a preference model's margins and a loss taken both ways all give log-odds.

A label is right with probability eta of its annotator, and the model holds the shown order right with probability
p; so the label is right, given both, with probability

    w = s(logit p + logit eta)                      s the sigmoid

and eta is the mean of w over the annotator's labels. Where the model is calibrated this converges to the true
reliability from any start in (0, 1), unless p = 1/2 for all pairs.

Few models are: a scorer has its own unit, and one that learnt from noisy labels is less sure than it should be. So
the log-odds may be taken as c z, with c found together with eta as the pair of numbers that makes the shown orders
likeliest,

    sum_i log[ eta s(c z_i) + (1 - eta) s(-c z_i) ]

Both are identified by how often the model is contradicted at each size of z: noise contradicts it at any size, doubt
only where z is small.
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
HALF_CHI_SQUARE = 1.92
"""Half of the 95% quantile of chi-square with one degree of freedom: how far a profile likelihood may fall."""


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


@dataclass(frozen=True)
class Scale:
    """How a model's log-odds are to be read.

    Args:
        factor: c, what they are multiplied by.
        reliability: eta of all labels together that goes with it.
        interval: 95% profile-likelihood interval of eta, whatever the factor, to the nearest 0.01 outwards.
    """

    factor: float
    reliability: float
    interval: tuple[float, float]


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
    log_odds = _checked(log_odds)
    if not 0.5 < initial < 1:
        raise InputError("the initial reliability is a probability above 1/2", found=str(initial))
    names = [name or "" for name in annotators] if annotators is not None else [""] * len(log_odds)
    known = sorted(set(names))
    index = torch.tensor([known.index(name) for name in names]) if len(known) > 1 else torch.zeros(len(names)).long()
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


def fit_scale(log_odds: Tensor, factors: Sequence[float] | None = None) -> Scale:
    """The factor and the common reliability under which the shown orders are likeliest.

    Args:
        log_odds: [N] the model's log-odds, in any unit, that the preferred candidate is better.
        factors: the only ones to consider; default: all, from nearly blind to nearly certain.
    """
    log_odds = _checked(log_odds)
    typical = float(log_odds.abs()[log_odds != 0].median()) if bool((log_odds != 0).any()) else 0.0
    if not typical:
        raise InputError("the model prefers no candidate over another", found="log-odds that are all 0")
    reliability = torch.linspace(LOWEST, HIGHEST, 99, dtype=torch.float64)
    grid = [factor / typical for factor in _between(0.02, 200, 41)] if factors is None else list(factors)
    surface = [_profile(log_odds, factor, reliability) for factor in grid]
    if factors is None:
        best = max(range(len(grid)), key=lambda at: float(surface[at].max()))
        finer = _between(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 9)[1:-1]
        grid, surface = grid + finer, surface + [_profile(log_odds, factor, reliability) for factor in finer]
    best = max(range(len(grid)), key=lambda at: float(surface[at].max()))
    profile = torch.stack(surface).amax(dim=0)
    inside = (profile >= profile.max() - HALF_CHI_SQUARE).nonzero().flatten()
    low, high = (int(inside[0]) - 1, int(inside[-1]) + 1)
    return Scale(
        grid[best],
        float(reliability[surface[best].argmax()]),
        (float(reliability[max(low, 0)]), float(reliability[min(high, 98)])),
    )


def _profile(log_odds: Tensor, factor: float, reliability: Tensor) -> Tensor:
    """[E] log-likelihood of the shown orders for each reliability; these are bounded away from 0 and 1."""
    right = torch.sigmoid(factor * log_odds)
    return torch.stack([torch.log(each * right + (1 - each) * (1 - right)).sum() for each in reliability])


def _between(low: float, high: float, count: int) -> list[float]:
    """Numbers with equal ratios."""
    return [low * (high / low) ** (step / (count - 1)) for step in range(count)]


def _checked(log_odds: Tensor) -> Tensor:
    if log_odds.dim() != 1 or not len(log_odds):
        raise InputError("an audit needs one log-odds per comparison", found=str(tuple(log_odds.shape)))
    if not bool(log_odds.isfinite().all()):
        raise InputError("an audit needs finite log-odds", found=str(float(log_odds[~log_odds.isfinite()][0])))
    return log_odds.detach().double().cpu()
