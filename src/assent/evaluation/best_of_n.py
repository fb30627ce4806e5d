"""Best of n: what a proxy reward buys of the true one, and how far it moves the policy.

From N samples of one prompt, without drawing anything (Nakano et al. 2021, arXiv 2112.09332, appendix I):

    E[gold of the proxy's best of n] = sum_i C(i, n - 1) / C(N, n) gold_(i),   i = 0 .. N-1 in rising proxy order

KL(best of n || policy) <= log n - (n - 1) / n, in nats, with equality for continuous rewards (Beirami et al. 2024,
arXiv 2401.01879). Samples of equal proxy share their mean gold, so the order of the file does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, log

from assent.errors import InputError
from assent.evaluation.intervals import Interval, bootstrap_interval


@dataclass(frozen=True)
class CurvePoint:
    """Best of n over all prompts.

    Args:
        n: how many samples are drawn.
        kl: bound on the divergence from the policy, in nats.
        gold: mean true reward of the proxy's choice.
        oracle: mean true reward of the best choice there is.
    """

    n: int
    kl: float
    gold: Interval
    oracle: float


def expected_gold(proxy: Sequence[float], gold: Sequence[float], n: int) -> float:
    """Expected true reward of the best of n of these samples by the proxy."""
    if len(proxy) != len(gold) or not 1 <= n <= len(proxy):
        raise InputError(
            "best of n needs n of the samples", found=f"n = {n}, {len(proxy)} proxies, {len(gold)} true rewards"
        )
    order = sorted(range(len(proxy)), key=lambda index: proxy[index])
    by_proxy: dict[float, list[float]] = {}
    for index in order:
        by_proxy.setdefault(proxy[index], []).append(gold[index])
    ranked = [sum(same) / len(same) for same in by_proxy.values() for _ in same]
    return sum(comb(i, n - 1) * value for i, value in enumerate(ranked)) / comb(len(proxy), n)


def kl_bound(n: int) -> float:
    """log n - (n - 1) / n, in nats."""
    return log(n) - (n - 1) / n


def best_of_n_curve(
    proxies: Sequence[Sequence[float]],
    golds: Sequence[Sequence[float]],
    counts: Sequence[int] | None = None,
    seed: int = 0,
) -> list[CurvePoint]:
    """The curve over prompts; n runs over powers of two up to the smallest number of samples."""
    smallest = min((len(row) for row in proxies), default=0)
    if not smallest:
        raise InputError("best of n needs samples", found=f"{len(proxies)} prompts")
    counts = counts or [2**power for power in range(smallest.bit_length()) if 2**power <= smallest]
    points = []
    for n in counts:
        values = [expected_gold(proxy, gold, n) for proxy, gold in zip(proxies, golds, strict=True)]
        best = [expected_gold(gold, gold, n) for gold in golds]
        points.append(CurvePoint(n, kl_bound(n), bootstrap_interval(values, seed=seed), sum(best) / len(best)))
    return points
