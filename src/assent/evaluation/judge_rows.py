"""What judged files say of their judges, as rows for tables: habits, agreement, leaning to their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from assent.comparison import Comparison
from assent.evaluation.head_to_head import names_longer, orders, preference
from assent.evaluation.intervals import Interval
from assent.evaluation.judge_agreement import JudgeAgreement
from assent.evaluation.matched_verdicts import Verdicts
from assent.evaluation.self_preference import SelfPreference
from assent.evaluation.win_rate import text_of

Row = dict[str, Any]


def habit_row(name: str, judged: Sequence[Comparison], verdicts: Verdicts) -> Row:
    """How a judge behaves: ties, agreement of both orders, leaning to a place or to length."""
    pairs = [one for one in judged if len(one.answers) == 2]
    texts = [[text_of(candidate.completion) for candidate in one.answers] for one in pairs]
    lengths = np.array([[len(text) for text in row] for row in texts], dtype=np.float64).reshape(-1, 2)
    longer = names_longer(np.array([preference(one) for one in pairs]), lengths)
    both = orders(judged)
    return {
        "judge": name,
        "pairs": len(verdicts),
        "ties": percent(sum(one.side == 0 for one in verdicts.values()) / len(verdicts)),
        "orders agree": percent(both.consistency if both else None),
        "leans to first": percent(both.biased_to_first if both else None),
        "names the longer": None if longer is None else longer[1].percent(),
    }


def agreement_row(names: tuple[str, str], found: JudgeAgreement) -> Row:
    """How far two judges agree."""
    return {
        "judge": names[0],
        "and": names[1],
        "pairs": found.pairs,
        "same verdict": found.with_ties.percent(),
        "same winner": None if found.decided is None else found.decided.percent(),
        "kappa": None if found.kappa is None else round(found.kappa, 3),
    }


def own_row(name: str, own: Collection[str], found: SelfPreference) -> Row:
    """How far a judge favours its own answers."""
    return {
        "judge": name,
        "own": ", ".join(sorted(own)),
        "pairs": found.pairs,
        "names its own": found.own_rate.percent(),
        "reference": percent(found.reference_rate),
        "excess": None if found.excess is None else points(found.excess),
        "p": found.p_value,
        "recall gap": None if found.recall_gap is None else f"{100 * found.recall_gap:+.0f} points",
    }


def own_sources(judge: str, given: Mapping[str, Collection[str]]) -> set[str]:
    """The sources that are a judge's own: those named for it, else the one of its name."""
    return set(given.get(judge, ())) or {judge}


def percent(value: float | None) -> str | None:
    """A share as text."""
    return None if value is None else f"{100 * value:.0f}%"


def points(interval: Interval) -> str:
    """A difference of shares as text, in percentage points."""
    return f"{100 * interval.estimate:+.1f} points [{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"
