"""Factors of judged pairs as arrays: whose preference, which factor differs by how much, in which scenario.

The preferences stand in one file, the factors in the same or in another that holds the same answers (a checklist
judge writes its lines as `scores`). Length in words is a factor that needs no judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assent.comparison import Candidate, Comparison, content_key
from assent.errors import InputError
from assent.evaluation.head_to_head import preference
from assent.evaluation.win_rate import text_of
from assent.generation.prompts import messages_of

Array = NDArray[np.float64]
LENGTH = "length"


@dataclass(frozen=True)
class FactorTable:
    """N decided pairs, D factors.

    Args:
        factors: D names.
        first: [N, D] the first answers' values.
        second: [N, D] the second answers'.
        preferred: [N] 1 where the first answer was preferred, -1 where the second.
        prompts: N keys of the prompts, the units of a bootstrap.
        scenarios: N groups.
        left_out: pairs without a preference, with a tie, or without all factors, by reason.
    """

    factors: list[str]
    first: Array
    second: Array
    preferred: Array
    prompts: list[str]
    scenarios: list[str]
    left_out: dict[str, int]


def factor_table(pairs: Sequence[Comparison], rated: Sequence[Comparison] | None = None) -> FactorTable:
    """The decided pairs with the factors that all answers of `rated` (default: of the pairs) share.

    Raises:
        InputError: no pair is decided and rated.
    """
    ratings = {_key(one, candidate): candidate for one in rated or pairs for candidate in one.answers}
    named = [set(candidate.scores) for candidate in ratings.values() if candidate.scores]
    names = sorted(set.union(*named)) if named else []
    first, second, preferred, prompts, scenarios = [], [], [], [], []
    left_out = {"not two answers": 0, "no preference": 0, "tie": 0, "not rated in every factor": 0}
    for pair in pairs:
        if len(pair.answers) != 2:
            left_out["not two answers"] += 1
            continue
        value = preference(pair)
        if np.isnan(value) or value == 0.5:
            left_out["no preference" if np.isnan(value) else "tie"] += 1
            continue
        rows = [_values(ratings.get(_key(pair, candidate)), names) for candidate in pair.answers]
        if rows[0] is None or rows[1] is None:
            left_out["not rated in every factor"] += 1
            continue
        first.append(rows[0])
        second.append(rows[1])
        preferred.append(1.0 if value > 0.5 else -1.0)
        prompts.append(content_key(messages_of(pair.prompt)))
        scenarios.append(pair.group or "all")
    if not preferred:
        raise InputError("no pair is decided and rated", found=str({k: v for k, v in left_out.items() if v}))
    kept = {name: count for name, count in left_out.items() if count}
    return FactorTable(
        [*names, LENGTH], np.array(first), np.array(second), np.array(preferred), prompts, scenarios, kept
    )


def _values(candidate: Candidate | None, names: Sequence[str]) -> list[float] | None:
    if candidate is None or any(name not in candidate.scores for name in names):
        return None
    return [*(candidate.scores[name] for name in names), float(len(text_of(candidate.completion).split()))]


def _key(comparison: Comparison, candidate: Candidate) -> str:
    return content_key([messages_of(comparison.prompt_of(candidate)), str(candidate.completion)])
