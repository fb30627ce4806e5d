"""How well could a policy rank, given its reference and its judges, and which pairs can it hardly learn?

Source: Chen et al. 2024, arXiv 2405.19534.

For a pair w over l: m = log pi(w) - log pi(l); c = log ref(l) - log ref(w) (above 0: the reference is wrong);
h = m + c, the DPO margin; a = share of raters who prefer w.

    ranking accuracy        [m >= 0]                          idealised   [-c + log(a / (1 - a)) / beta > 0]
    alignment gap           median idealised over betas - ranking accuracy
    flip threshold          -log sigmoid(beta c): the DPO loss below which the policy ranks the pair right
    IPO                     zero loss ranks right only if -c >= -1 / (2 tau)

Ties count as right in the first and as wrong in the second, as the source defines them. A unanimous vote is taken as
1 - a = 0.001. Everything is decided on margins: losses round to equal numbers at large beta |c|.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from assent.comparison import Comparison
from assent.errors import InputError
from assent.preference_models import Scored

BETAS = (0.01, 0.1, 1.0, 5.0, 10.0)
UNANIMOUS = 1e-3
Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairLogProbs:
    """Log-probabilities of N pairs, in nats, and the lengths of their completions in tokens.

    Args:
        chosen: under the policy; likewise `rejected`.
        reference_chosen: under the reference; likewise `reference_rejected`.
        chosen_length: scored tokens; likewise `rejected_length`.
    """

    chosen: Sequence[float]
    rejected: Sequence[float]
    reference_chosen: Sequence[float]
    reference_rejected: Sequence[float]
    chosen_length: Sequence[int]
    rejected_length: Sequence[int]

    def __post_init__(self) -> None:
        sizes = {name: len(values) for name, values in vars(self).items()}
        if len(set(sizes.values())) != 1 or not sizes["chosen"]:
            raise InputError("pairs need all their log-probabilities", found=str(sizes))
        if np.min(self.chosen_length) < 1 or np.min(self.rejected_length) < 1:
            raise InputError("a completion without scored tokens", field="length", found="0")

    def ratio(self, policy: bool, per_token: bool) -> Array:
        """[N] log-ratio of chosen over rejected under the policy or the reference, of sums or of means."""
        chosen = np.asarray(self.chosen if policy else self.reference_chosen, dtype=np.float64)
        rejected = np.asarray(self.rejected if policy else self.reference_rejected, dtype=np.float64)
        if per_token:
            chosen = chosen / np.asarray(self.chosen_length, dtype=np.float64)
            rejected = rejected / np.asarray(self.rejected_length, dtype=np.float64)
        difference: Array = chosen - rejected
        return difference


@dataclass(frozen=True)
class AlignmentGap:
    """The measures of one dataset; `per_token` ones rank by mean log-probability.

    Args:
        ranking: ranking accuracy of the policy.
        reference_ranking: of the reference.
        reward: share of pairs whose log-ratio margin is above 0.
        idealised: by beta.
        gap: median idealised minus ranking.
        length_difference: mean tokens of chosen minus rejected; sums are dominated by it.
    """

    ranking: float
    ranking_per_token: float
    reference_ranking: float
    reward: float
    idealised: dict[float, float] = field(default_factory=dict)
    idealised_per_token: dict[float, float] = field(default_factory=dict)
    gap: float = 0.0
    gap_per_token: float = 0.0
    length_difference: float = 0.0


def alignment_gap(pairs: PairLogProbs, votes: Sequence[float], betas: Sequence[float] = BETAS) -> AlignmentGap:
    """The gap, given the share of raters who prefer each chosen completion.

    Raises:
        InputError: a share below 1/2 (chosen and rejected are exchanged), or policy and reference are the same.
    """
    policy, reference = pairs.ratio(True, False), pairs.ratio(False, False)
    if len(policy) > 1 and np.abs(policy - reference).max() < 1e-6:
        raise InputError(
            "policy and reference give the same log-probabilities",
            remedy="Check that the adapter is off for the reference, and that the policy was trained",
        )
    ideal = {beta: float(idealised_correct(reference, votes, beta).mean()) for beta in betas}
    per_token = pairs.ratio(False, True)
    ideal_per_token = {beta: float(idealised_correct(per_token, votes, beta).mean()) for beta in betas}
    ranking, ranking_per_token = float((policy >= 0).mean()), float((pairs.ratio(True, True) >= 0).mean())
    lengths = np.asarray(pairs.chosen_length, dtype=np.float64) - np.asarray(pairs.rejected_length)
    return AlignmentGap(
        ranking=ranking,
        ranking_per_token=ranking_per_token,
        reference_ranking=float((reference >= 0).mean()),
        reward=float((policy - reference > 0).mean()),
        idealised=ideal,
        idealised_per_token=ideal_per_token,
        gap=median(ideal.values()) - ranking,
        gap_per_token=median(ideal_per_token.values()) - ranking_per_token,
        length_difference=float(lengths.mean()),
    )


def pairs_of(comparisons: Sequence[Comparison], scored: Sequence[Scored]) -> PairLogProbs:
    """The log-probabilities of each comparison's best and worst judged answer, as an implicit reward scored them."""
    columns: list[tuple[float, ...]] = []
    for comparison, result in zip(comparisons, scored, strict=True):
        if "reference_log_probability" not in result.dimensions:
            raise InputError("the alignment gap is measured on language models", field="--model")
        scores = {at: one.score for at, one in enumerate(comparison.candidates) if one.score is not None}
        best, worst = max(scores, key=lambda at: scores[at]), min(scores, key=lambda at: scores[at])
        names = ("log_probability", "reference_log_probability", "tokens")
        columns.append(tuple(result.dimensions[name][at] for name in names for at in (best, worst)))
    if not columns:
        raise InputError("no pair to measure on", expected="two answers with different scores")
    chosen, rejected, reference_chosen, reference_rejected, long, short = map(list, zip(*columns, strict=True))
    return PairLogProbs(
        chosen, rejected, reference_chosen, reference_rejected, [int(x) for x in long], [int(x) for x in short]
    )


def idealised_correct(reference_ratio: Array, votes: Sequence[float], beta: float) -> NDArray[np.bool_]:
    """[N] whether the optimum of DPO on the true preferences ranks each pair right."""
    share = np.asarray(votes, dtype=np.float64)
    if (share < 0.5).any() or (share > 1).any():
        bad = float(share[(share < 0.5) | (share > 1)][0])
        raise InputError(
            "a share of raters for the chosen completion", field="votes", found=str(bad), expected="0.5 to 1"
        )
    against = np.where(share >= 1, UNANIMOUS, 1 - share)
    # The source writes 1 / eps for a unanimous vote: the numerator stays 1.
    log_odds = np.log(share) - np.log(against)
    return reference_ratio + log_odds / beta > 0


def flip_threshold(pairs: PairLogProbs, beta: float, attenuation: float = 1.0) -> Array:
    """[N] the loss at which the policy's ranking of each pair flips: -log sigmoid(beta gamma c), in nats."""
    return np.logaddexp(0, beta * attenuation * pairs.ratio(False, False))


def difficulty(pairs: PairLogProbs) -> Array:
    """[N] c, in nats: how strongly the reference prefers the rejected completion."""
    return -pairs.ratio(False, False)


def difficulty_bins(pairs: PairLogProbs, beta: float) -> dict[str, list[int]]:
    """Row indices by how hard a pair is to flip: already right, easy, medium, practically out of reach."""
    scaled = beta * difficulty(pairs)
    names = np.select([scaled <= 0, scaled <= 0.5, scaled <= 3], ["right", "easy", "medium"], "out_of_reach")
    return {name: np.flatnonzero(names == name).tolist() for name in ("right", "easy", "medium", "out_of_reach")}


def transitions(pairs: PairLogProbs) -> list[str]:
    """How each pair went from the reference to the policy: `incorrect->correct`, and so on."""
    before, after = pairs.ratio(False, False) >= 0, pairs.ratio(True, False) >= 0
    word = {True: "correct", False: "incorrect"}
    return [f"{word[bool(b)]}->{word[bool(a)]}" for b, a in zip(before, after, strict=True)]


def ipo_can_rank(pairs: PairLogProbs, tau: float) -> NDArray[np.bool_]:
    """[N] whether zero IPO loss would rank each pair right."""
    return pairs.ratio(False, False) >= -1 / (2 * tau)


def exact_ranking(scores: Sequence[float], ranks: Sequence[int]) -> bool:
    """Whether the whole order by score is the order by rank (1 best); chance is 1 / K!."""
    by_score = sorted(range(len(scores)), key=lambda index: -scores[index])
    return [ranks[index] for index in by_score] == sorted(ranks)
