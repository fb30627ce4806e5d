"""How far two judges agree on the same pairs of answers, people among them.

Source: Zheng et al. 2023, arXiv 2306.05685, section 4: the share of equal verdicts with ties as a verdict of their
own, and without them (only where both decide). Cohen's kappa says how much of it is more than chance; Krippendorff's
alpha the same for any number of judges of whom some have not judged everything. Which answer counts as the first is
decided by a hash, so both are about single pairs: that two judges prefer the same system is not taken for chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from assent.errors import InputError
from assent.evaluation.agreement import cohen_kappa, krippendorff_alpha
from assent.evaluation.intervals import Interval, bootstrap_interval
from assent.evaluation.matched_verdicts import Verdicts, common_pairs


@dataclass(frozen=True)
class JudgeAgreement:
    """Shares of pairs on which two judges say the same.

    Args:
        pairs: judged by both.
        with_ties: same verdict of three, with a 95% interval over prompts.
        decided: same winner where neither ties; None without such a pair.
        kappa: agreement beyond chance, of three verdicts; None where chance alone would always agree.
    """

    pairs: int
    with_ties: Interval
    decided: Interval | None
    kappa: float | None


def judge_agreement(first: Verdicts, second: Verdicts, rounds: int = 2000, seed: int = 0) -> JudgeAgreement:
    """The agreement of two judges on the pairs that both judged.

    Raises:
        InputError: there are none.
    """
    keys = common_pairs(first, second)
    sides = [(first[key].side, second[key].side) for key in keys]
    prompts = [key[0] for key in keys]
    decided = [(one == other, prompt) for (one, other), prompt in zip(sides, prompts, strict=True) if one and other]
    kappa = cohen_kappa([one for one, _ in sides], [other for _, other in sides])
    return JudgeAgreement(
        pairs=len(keys),
        with_ties=bootstrap_interval([one == other for one, other in sides], prompts, rounds=rounds, seed=seed),
        decided=bootstrap_interval(*_columns(decided), rounds=rounds, seed=seed) if decided else None,
        kappa=None if math.isnan(kappa) else kappa,
    )


def panel_alpha(judges: Mapping[str, Verdicts]) -> float | None:
    """Krippendorff's alpha of all judges, verdicts ordered (second, tie, first); None where it is not defined."""
    keys = list(dict.fromkeys(key for table in judges.values() for key in table))
    ratings = [[float(table[key].side) if key in table else None for key in keys] for table in judges.values()]
    try:
        alpha = krippendorff_alpha(ratings, "ordinal")
    except InputError:
        return None
    return None if math.isnan(alpha) else alpha


def agreements(
    judges: Mapping[str, Verdicts], rounds: int = 2000, seed: int = 0
) -> dict[tuple[str, str], JudgeAgreement]:
    """The agreement of every two judges who share a pair."""
    return {
        (one, other): judge_agreement(judges[one], judges[other], rounds, seed)
        for one, other in combinations(judges, 2)
        if any(key in judges[other] for key in judges[one])
    }


def _columns(rows: list[tuple[bool, str]]) -> tuple[list[bool], list[str]]:
    return [value for value, _ in rows], [name for _, name in rows]
