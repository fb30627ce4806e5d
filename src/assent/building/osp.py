"""One round of OSP's data: a model prefers among its own answers, and says how strongly.

Source: Zhai et al. 2024, arXiv 2405.14103; which pairs are made and how their strength follows from the baseline
are our completion of what the paper only names.

Every answer k of a prompt is compared with one baseline answer alone, K questions instead of K (K - 1) / 2:

    q_k = P(k beats the baseline), from label probabilities in both orders
    p_ij = sigmoid(logit q_i - logit q_j)

the Bradley-Terry strength through the baseline. Answers are ranked by q. p_ij + p_ji = 1; a number added to all
logits changes no rank. Against an empty baseline every q saturates and differences are noise: `strengthened` then
asks about each pair directly.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Literal, get_args

from assent.building.best_worst import of_answers
from assent.building.built import Built, counted
from assent.building.drawn import OnStep, mean_length, nothing
from assent.comparison import Candidate, Comparison, Completion, Prompt
from assent.errors import InputError
from assent.generation.decoding import Decoder
from assent.generation.sampling import Sampling
from assent.judging.verdict import Judge

Pairing = Literal["all", "adjacent", "best_vs_rest", "best_worst"]
NEAREST = 1e-6
"""How near to 0 or 1 a probability is believed, so that its logit is finite."""


@dataclass(frozen=True)
class RankedPair:
    """Indices of two answers and P(winner beats loser), at least 1/2."""

    winner: int
    loser: int
    strength: float


def ranked_pairs(wins: Sequence[float], pairing: Pairing = "all", smallest_gap: float = 0.0) -> list[RankedPair]:
    """Pairs of a ranked list, from each answer's probability to beat the baseline; equal ones make no pair.

    Args:
        wins: [K] q, in [0, 1].
        pairing: all pairs, neighbours in rank, the best with all others, or the best with the worst.
        smallest_gap: pairs whose q differ by no more are left out.
    """
    if pairing not in get_args(Pairing):
        raise InputError(
            "unknown pairing", field="pairing", found=repr(pairing), expected=", ".join(get_args(Pairing))
        )
    order = sorted(range(len(wins)), key=lambda at: -wins[at])
    chosen: Iterable[tuple[int, int]]
    if pairing == "all":
        chosen = itertools.combinations(order, 2)
    elif pairing == "adjacent":
        chosen = itertools.pairwise(order)
    elif pairing == "best_vs_rest":
        chosen = ((order[0], other) for other in order[1:])
    else:
        chosen = [(order[0], order[-1])] if len(order) > 1 else []
    return [
        RankedPair(winner, loser, bradley_terry_strength(wins[winner], wins[loser]))
        for winner, loser in chosen
        if wins[winner] - wins[loser] > smallest_gap
    ]


def bradley_terry_strength(winner: float, loser: float) -> float:
    """P(winner beats loser) from both probabilities to beat one baseline."""
    return 1 / (1 + math.exp(_logit(loser) - _logit(winner)))


def self_prefer(
    drawn: Sequence[Comparison],
    baselines: Sequence[Completion],
    judge: Judge,
    pairing: Pairing = "all",
    smallest_gap: float = 0.0,
    on_step: OnStep = nothing,
) -> Built:
    """Pairs with strengths as `confidence`, from the judge's probabilities against each prompt's baseline.

    Scores are the probabilities to beat the baseline; `meta.ranks` holds both answers' places, from 1.

    Args:
        drawn: answers that differ, by prompt.
        baselines: one answer for each of them, such as the initial model's greedy one.
        judge: gives `confidence` for two answers, as `LabelJudge` does.
        pairing: which pairs are made.
        smallest_gap: in probability.
        on_step: called after each question.
    """
    questions, owners = [], []
    for at, (comparison, baseline) in enumerate(zip(drawn, baselines, strict=True)):
        for place, candidate in enumerate(comparison.answers):
            versus = Candidate(baseline, source="baseline")
            questions.append(replace(comparison, candidates=[replace(candidate, score=None), versus], meta={}))
            owners.append((at, place))
    wins: list[dict[int, float]] = [{} for _ in drawn]
    reasons = Counter[str]()
    for index, verdict in judge.judge(questions):
        at, place = owners[index]
        if verdict.confidence is None:
            reasons[f"answers with verdict {verdict.status}"] += 1
        else:
            wins[at][place] = verdict.confidence
        on_step()
    pairs = []
    for comparison, found in zip(drawn, wins, strict=True):
        made = _pairs_of(comparison, found, judge, pairing, smallest_gap)
        reasons["prompts without a pair"] += not made
        pairs += made
    return Built(pairs, counted(reasons))


def baseline_answers(decoder: Decoder, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
    """The most likely answer to each prompt, to hold others against."""
    greedy = replace(sampling, samples=1, temperature=0.0)
    found = dict(decoder.decode(prompts, greedy))
    return [found[at].candidates[0].completion for at in range(len(prompts))]


def strengthened(pairs: Sequence[Comparison], judge: Judge) -> Built:
    """The pairs with the strength that the judge gives them face to face, reversed where it says so; no ties."""
    made: dict[int, Comparison] = {}
    reasons = Counter[str]()
    for index, verdict in judge.judge(pairs):
        strength = verdict.confidence
        if strength is None:
            reasons[f"verdict {verdict.status}"] += 1
        elif strength == 0.5:
            reasons["ties"] += 1
        else:
            first, second = pairs[index].candidates
            order = [first, second] if strength > 0.5 else [second, first]
            strongest = max(strength, 1 - strength)
            scored = [replace(order[0], score=strongest), replace(order[1], score=1 - strongest)]
            made[index] = replace(pairs[index], candidates=scored, confidence=strongest)
    return Built([made[index] for index in sorted(made)], counted(reasons))


@dataclass(frozen=True)
class JudgeReport:
    """How far a judge can be trusted, on pairs whose better answer is known; None where nothing was judged.

    Args:
        accuracy: share of the pairs it orders as people did, ties half.
        order_flips: share of the pairs whose winner depends on the order in which they are shown.
        longer: how often it names the longer answer.
        judged: pairs with a verdict.
    """

    accuracy: float | None
    order_flips: float | None
    longer: float | None
    judged: int


def judge_report(labelled: Sequence[Comparison], judge: Judge) -> JudgeReport:
    """The judge on labelled pairs, each of exactly two answers with different scores."""
    right, flips, longer = [], [], []
    for index, verdict in judge.judge(labelled):
        first, second = labelled[index].answers
        if verdict.confidence is None or first.score is None or second.score is None:
            continue
        tie = verdict.confidence == 0.5
        right.append(0.5 if tie else float((verdict.confidence > 0.5) == (first.score > second.score)))
        if verdict.consistent is not None:
            flips.append(not verdict.consistent)
        lengths = [len(str(one.completion)) for one in (first, second)]
        if lengths[0] != lengths[1]:
            longer.append(0.5 if tie else float((verdict.confidence > 0.5) == (lengths[0] > lengths[1])))
    accuracy, order_flips, named = (mean(row) if row else None for row in (right, flips, longer))
    return JudgeReport(accuracy, order_flips, named, len(right))


def measures(pairs: Sequence[Comparison]) -> dict[str, float | None]:
    """Numbers of a round: pairs, mean strength, mean lengths of winners and losers."""
    strengths = [one.confidence for one in pairs if one.confidence is not None]
    return {
        "pairs": float(len(pairs)),
        "mean_strength": mean(strengths) if strengths else None,
        "chosen_length": mean_length(one.candidates[0] for one in pairs),
        "rejected_length": mean_length(one.candidates[1] for one in pairs),
    }


def _pairs_of(
    comparison: Comparison, found: dict[int, float], judge: Judge, pairing: Pairing, smallest_gap: float
) -> list[Comparison]:
    places = sorted(found)
    wins = [found[place] for place in places]
    ranks = {at: rank for rank, at in enumerate(sorted(range(len(wins)), key=lambda at: -wins[at]), start=1)}
    made = []
    for pair in ranked_pairs(wins, pairing, smallest_gap):
        both = [replace(comparison.answers[places[at]], score=wins[at]) for at in (pair.winner, pair.loser)]
        one = of_answers(comparison, both, "osp")
        meta = {**one.meta, "ranks": [ranks[pair.winner], ranks[pair.loser]]}
        made.append(replace(one, confidence=pair.strength, annotator=judge.name, context=judge.criterion, meta=meta))
    return made


def _logit(probability: float) -> float:
    inside = min(max(probability, NEAREST), 1 - NEAREST)
    return math.log(inside) - math.log1p(-inside)
