"""Whether a judge favours what it wrote itself.

Sources: Zheng et al. 2023, arXiv 2306.05685, section 3.3 (a judge's rate for its own answers against other judges');
Wataoka, Takahashi, Ri 2024, arXiv 2410.21819 (the gap in recall). On the pairs in which the judge's own answer meets
another's,

    own rate    = mean preference of the judge for its own answers
    excess      = own rate - the reference's preference for the same answers
    recall gap  = P(judge says own | reference says own) - P(judge says other | reference says other)

A strong model may earn its own rate, so without a reference (people, a second judge) it says nothing about bias.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assent.evaluation.intervals import Interval, bootstrap_interval, paired_bootstrap
from assent.evaluation.matched_verdicts import PairKey, Verdicts
from assent.evaluation.significance import sign_flip_test


@dataclass(frozen=True)
class SelfPreference:
    """Rates in [0, 1]; None where no reference judged such a pair.

    Args:
        pairs: in which an own answer meets another's.
        own_rate: the judge's preference for its own, with a 95% interval over prompts.
        compared: pairs of them that the reference judged too.
        reference_rate: the reference's preference for the same answers.
        excess: own rate minus the reference's, on the pairs that both judged.
        p_value: of the excess being chance.
        recall_gap: how much more often the judge agrees where the reference prefers the judge's own.
    """

    pairs: int
    own_rate: Interval
    compared: int = 0
    reference_rate: float | None = None
    excess: Interval | None = None
    p_value: float | None = None
    recall_gap: float | None = None


def self_preference(
    judge: Verdicts, own: Collection[str], reference: Verdicts | None = None, rounds: int = 2000, seed: int = 0
) -> SelfPreference | None:
    """The judge's leaning to the sources that are its own; None if none of them meets another's answer."""
    mine = {key: _for_own(judge, key, own) for key, verdict in judge.items() if _mixed(verdict.sources, own)}
    if not mine:
        return None
    rate = bootstrap_interval(list(mine.values()), [key[0] for key in mine], rounds=rounds, seed=seed)
    shared = [key for key in mine if reference is not None and key in reference]
    if reference is None or not shared:
        return SelfPreference(len(mine), rate)
    said = np.array([mine[key] for key in shared])
    # The reference's file may not name its sources: the judge's do, and the pairs are in one order.
    truth = np.array(
        [
            reference[key].preference if judge[key].sources[0] in own else 1 - reference[key].preference
            for key in shared
        ]
    )
    prompts = [key[0] for key in shared]
    return SelfPreference(
        pairs=len(mine),
        own_rate=rate,
        compared=len(shared),
        reference_rate=float(truth.mean()),
        excess=paired_bootstrap(said, truth, prompts, rounds=rounds, seed=seed),
        p_value=sign_flip_test(said - truth, prompts, seed=seed),
        recall_gap=_recall_gap(said, truth),
    )


def _mixed(sources: tuple[str | None, str | None], own: Collection[str]) -> bool:
    first, second = sources
    return (first in own) != (second in own) and first is not None and second is not None


def _for_own(table: Verdicts, key: PairKey, own: Collection[str]) -> float:
    verdict = table[key]
    return verdict.preference if verdict.sources[0] in own else 1 - verdict.preference


def _recall_gap(said: NDArray[np.float64], truth: NDArray[np.float64]) -> float | None:
    own, other = truth > 0.5, truth < 0.5
    if not own.any() or not other.any():
        return None
    return float((said[own] > 0.5).mean() - (said[other] < 0.5).mean())
