"""Two systems on the same prompts, judged pair by pair: who wins, how surely, and how far the judge can be trusted.

Answers are joined by prompt. Equal answers tie without a judge. x in [0, 1] is the judge's preference for the first
system, 1/2 a tie. Beside the win rate (`win_rate`) stand a bootstrap interval over prompts, the exact two-sided
sign test of wins against losses (ties left out), the length-controlled rate (`length_controlled`), the order
effects (`position_swap`) and how often the judge names the longer answer where lengths differ.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import binomtest

from assent.comparison import Candidate, Comparison, content_key
from assent.errors import InputError
from assent.evaluation.intervals import Interval, bootstrap_interval, wilson_interval
from assent.evaluation.length_controlled import LengthControlled, length_controlled
from assent.evaluation.position_swap import SwapReliability, Verdict, swap_reliability
from assent.evaluation.win_rate import Array, WinRate, text_of, win_rate
from assent.generation.decoding import served
from assent.generation.prompts import messages_of

FEWEST_FOR_FOLDS = 100
"""Verdicts below which the length control is fitted without the penalty that folds choose."""
FEWEST_FOR_LENGTH = 10
SEPARATED = 15.0
"""Coefficients, in logits, beyond which the length control's fit has no optimum."""
KEPT = ("turn", "reference")
"""What a pair keeps of its records' `meta`: which turn it is, and the reference answer that a judge is shown."""
SAID: dict[str, Verdict] = {"A": "A", "B": "B", "tie": "tie"}


@dataclass(frozen=True)
class Joined:
    """Pairs (first system's answer, second's), and how many answers of each found no partner."""

    pairs: list[Comparison]
    only_first: int
    only_second: int


@dataclass(frozen=True)
class HeadToHead:
    """The result; rates of the first system in per cent, None where they cannot be had.

    Args:
        rate: win rate with its standard error, wins, losses, ties.
        interval: 95% bootstrap interval of the win rate, over prompts.
        sign_test: p-value of wins against losses being a fair coin.
        controlled: the length-controlled rate.
        orders: what both orders said, of the pairs asked in both.
        names_longer: share of decided pairs of different length whose longer answer won, with its interval.
        lengths: mean characters of both systems.
        identical: pairs of equal answers, ties without a question.
    """

    rate: WinRate
    interval: Interval
    sign_test: float | None
    controlled: LengthControlled | None
    orders: SwapReliability | None
    names_longer: tuple[float, Interval] | None
    lengths: tuple[float, float]
    identical: int


def join(first: Sequence[Comparison], second: Sequence[Comparison], names: tuple[str, str] = ("A", "B")) -> Joined:
    """The answers of two files joined by prompt; a prompt that occurs n times is joined in order.

    Raises:
        InputError: no prompt is common, or a row has several answers and does not say which was chosen.
    """
    waiting: defaultdict[str, list[Comparison]] = defaultdict(list)
    for comparison in second:
        waiting[_prompt_key(comparison)].append(comparison)
    pairs, only_first = [], 0
    for comparison in first:
        partners = waiting[_prompt_key(comparison)]
        if not partners:
            only_first += 1
            continue
        pairs.append(_pair(comparison, partners.pop(0), names))
    if not pairs:
        raise InputError(
            "the two files have no prompt in common", found=f"{len(first)} and {len(second)} answers", field="prompt"
        )
    return Joined(pairs, only_first, sum(map(len, waiting.values())))


def _pair(first: Comparison, second: Comparison, names: tuple[str, str]) -> Comparison:
    """Both answers in one record; in a later turn each keeps the dialogue that led to it."""
    own = second.prompt if messages_of(first.prompt) != messages_of(second.prompt) else None
    answers = [
        Candidate(served(first).completion, source=names[0]),
        Candidate(served(second).completion, prompt=own, source=names[1]),
    ]
    reference = {name: first.meta[name] for name in KEPT if name in first.meta}
    return Comparison(first.prompt, answers, group=first.group, meta=reference)


def identical(pair: Comparison) -> bool:
    """Whether both answers are the same."""
    first, second = pair.answers
    return content_key(first.completion) == content_key(second.completion)


def tied(pair: Comparison) -> Comparison:
    """A pair of equal answers as judged: a tie."""
    candidates = [replace(candidate, score=0.5) for candidate in pair.candidates]
    return replace(pair, candidates=candidates, meta={**pair.meta, "judgement": {"status": "identical"}})


def preference(pair: Comparison) -> float:
    """How far the first answer was preferred, in [0, 1]; NaN without a verdict."""
    first, second = pair.answers
    if pair.confidence is not None:
        return pair.confidence
    if first.score is None or second.score is None:
        return float("nan")
    return 0.5 + 0.5 * float(np.sign(first.score - second.score))


def head_to_head(judged: Sequence[Comparison], rounds: int = 2000, seed: int = 0) -> HeadToHead:
    """The result of judged pairs, those of equal answers included.

    Args:
        judged: pairs from `join` with a judge's verdict in them, or `tied`.
        rounds: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: nothing has a verdict.
    """
    values = np.array([preference(pair) for pair in judged])
    texts = [[text_of(candidate.completion) for candidate in pair.answers] for pair in judged]
    lengths = np.array([[len(text) for text in row] for row in texts], dtype=np.float64)
    rate = win_rate(values)
    found = bootstrap_interval(values, [_prompt_key(pair) for pair in judged], rounds=rounds, seed=seed)
    decided = rate.wins + rate.losses
    return HeadToHead(
        rate=rate,
        interval=replace(found, low=100 * found.low, estimate=100 * found.estimate, high=100 * found.high),
        sign_test=float(binomtest(rate.wins, decided).pvalue) if decided else None,
        controlled=_controlled(values, lengths[:, 1] - lengths[:, 0], rate),
        orders=orders(judged),
        names_longer=names_longer(values, lengths),
        lengths=(float(lengths[:, 0].mean()), float(lengths[:, 1].mean())),
        identical=sum(map(identical, judged)),
    )


def statuses(judged: Sequence[Comparison]) -> dict[str, int]:
    """How many verdicts there are of each kind."""
    return dict(Counter(str(pair.meta.get("judgement", {}).get("status", "judged")) for pair in judged))


def _controlled(values: Array, gaps: Array, rate: WinRate) -> LengthControlled | None:
    if rate.judged < FEWEST_FOR_LENGTH or not rate.wins or not rate.losses:
        return None
    fit: Literal["alpaca_eval", "likelihood"] = "alpaca_eval" if rate.judged >= FEWEST_FOR_FOLDS else "likelihood"
    found = length_controlled(values, gaps, fit=fit)
    # Where length alone foretells every verdict nothing is left to tell the systems apart by, and the fit runs off.
    return None if max(abs(found.length), abs(found.system)) > SEPARATED else found


def orders(judged: Sequence[Comparison]) -> SwapReliability | None:
    """What both orders said, of the pairs that were asked in both; None if there are none."""
    said = [pair.meta.get("judgement", {}).get("verdicts", ()) for pair in judged]
    both = [(SAID.get(row[0], "error"), SAID.get(row[1], "error")) for row in said if len(row) == 2]
    return swap_reliability(both) if both else None


def names_longer(values: Array, lengths: Array) -> tuple[float, Interval] | None:
    """How often the longer answer won, of the decided pairs of different length, with its interval.

    Args:
        values: [N] preference for the first answer.
        lengths: [N, 2] characters.
    """
    gaps = lengths[:, 0] - lengths[:, 1]
    used = ~np.isnan(values) & (values != 0.5) & (gaps != 0)
    if not used.any():
        return None
    hits = int(((values[used] > 0.5) == (gaps[used] > 0)).sum())
    return hits / int(used.sum()), wilson_interval(hits, int(used.sum()))


def _prompt_key(comparison: Comparison) -> str:
    """What two systems were both asked: in a later turn of a dialogue, all but what they answered themselves."""
    messages = messages_of(comparison.prompt)
    if "turn" in comparison.meta:
        messages = [message for message in messages if message["role"] != "assistant"]
    return content_key(messages)
