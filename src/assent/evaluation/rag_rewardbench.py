"""RAG-RewardBench: preference models for answers that rest on retrieved passages.

Source: Jin et al. 2024, arXiv 2412.13746.

Two general scenarios (helpful, harmless) and four of retrieval: reason (several hops), citation, abstain, conflict.
The passages stand before the question in one user turn; the benchmark's field `prompt` is the passages, not a chat.
Right: strictly higher, as in RewardBench; ties are counted and also given one half. Overall is printed both as the
mean over scenarios and over rows. For judges, both orders are run elsewhere; `two_orders` scores their verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.evaluation.accuracy import Accuracy, accuracy, accuracy_by
from assent.evaluation.benchmark_rows import text_field
from assent.evaluation.pair_outcomes import PairOutcome, pair_outcomes
from assent.preference_models import Scorer

GENERAL, SPECIFIC = ("helpful", "harmless"), ("reason", "citation", "abstain", "conflict")
SCENARIOS = (*GENERAL, *SPECIFIC)


@dataclass(frozen=True)
class RAGRewardBench:
    """The numbers; ties are wrong unless said.

    Args:
        scenarios: accuracy of each scenario with intervals.
        macro: plain mean over the scenarios that are there.
        micro: over rows.
        specific: mean of the four scenarios of retrieval that are there, or None.
        by_writer: accuracy by the model that wrote the chosen answer.
        lengths: mean characters of chosen and rejected by scenario, the baseline of a length-loving model.
    """

    scenarios: Mapping[str, Accuracy]
    macro: float
    macro_with_ties: float
    micro: Accuracy
    specific: float | None
    by_writer: Mapping[str, Accuracy]
    lengths: Mapping[str, tuple[float, float]]


def rag_rewardbench(scorer: Scorer, rows: Sequence[Mapping[str, Any]]) -> RAGRewardBench:
    """Scores the rows of local files in the published schema."""
    comparisons = [comparison_of(row) for row in rows]
    return from_outcomes(pair_outcomes(comparisons, scorer.score(comparisons)))


def from_outcomes(outcomes: Sequence[PairOutcome]) -> RAGRewardBench:
    """The numbers of scored pairs whose scenario is named."""
    scenarios = accuracy_by(outcomes, lambda row: row.subset)
    specific = [scenarios[name].strict.estimate for name in SPECIFIC if name in scenarios]
    lengths = {}
    for name in scenarios:
        part = [row.lengths for row in outcomes if row.subset == name]
        lengths[name] = (sum(a for a, _ in part) / len(part), sum(b for _, b in part) / len(part))
    return RAGRewardBench(
        scenarios=scenarios,
        macro=sum(part.strict.estimate for part in scenarios.values()) / len(scenarios),
        macro_with_ties=sum(part.with_ties.estimate for part in scenarios.values()) / len(scenarios),
        micro=accuracy(outcomes),
        specific=sum(specific) / len(specific) if specific else None,
        by_writer=accuracy_by(outcomes, lambda row: row.sources[0]),
        lengths=lengths,
    )


@dataclass(frozen=True)
class TwoOrders:
    """A judge's verdicts with the chosen answer shown first and second.

    Args:
        accuracy: mean of the two orders.
        strict: pairs right in both.
        flip_rate: pairs whose orders do not name the same winner, unreadable verdicts included.
        per_pair: credit of each pair.
    """

    accuracy: float
    strict: float
    flip_rate: float
    per_pair: tuple[float, ...]


def two_orders(verdicts: Sequence[tuple[str, str]]) -> TwoOrders:
    """Scores ("A" | "B" | "tie" | anything else is invalid, one half) with chosen as A, then as B."""
    if not verdicts:
        raise InputError("no verdict to score")
    credit = [({"A": 1.0, "B": 0.0}.get(x, 0.5), {"B": 1.0, "A": 0.0}.get(y, 0.5)) for x, y in verdicts]
    return TwoOrders(
        accuracy=sum(x + y for x, y in credit) / (2 * len(credit)),
        strict=sum(x == y == 1 for x, y in credit) / len(credit),
        # Only (A, B) and (B, A) name one winner in both orders; the same letter twice judges the position.
        flip_rate=sum((x, y) not in (("A", "B"), ("B", "A"), ("tie", "tie")) for x, y in verdicts) / len(verdicts),
        per_pair=tuple((x + y) / 2 for x, y in credit),
    )


def comparison_of(row: Mapping[str, Any]) -> Comparison:
    """A row `prompt` (passages), `question, chosen, reject, subset`; the file's name where there is no subset."""
    scenario = str(row.get("subset") or row["_file"]).lower()
    if scenario not in SCENARIOS:
        scenario = str(row["_file"]).lower()
    if scenario not in SCENARIOS:
        raise InputError(
            "an unknown scenario of RAG-RewardBench",
            where=row["_where"],
            field="subset",
            found=repr(row.get("subset"))[:60],
            expected=", ".join(SCENARIOS),
            remedy="Name the file after its scenario, or the row's `subset`",
        )
    passages, question = text_field(row, "prompt"), text_field(row, "question")
    chosen, rejected = text_field(row, "chosen"), text_field(row, "reject", "rejected")
    if chosen == rejected:
        raise InputError("chosen and rejected are the same text", where=row["_where"])
    return Comparison(
        [{"role": "user", "content": f"{passages}\n\nQuestion: {question}"}],
        [
            Candidate([_turn(chosen)], score=1.0, source=row.get("chosen_model")),
            Candidate([_turn(rejected)], score=0.0, source=row.get("reject_model") or row.get("rejected_model")),
        ],
        group=scenario,
    )


def _turn(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def consensus_pairs(
    scores: Sequence[Sequence[float]], largest_range: float = 1.0, smallest_gap: float = 1.0
) -> list[tuple[int, int]]:
    """(chosen, rejected) responses that a panel agrees on, from its marks [responses][judges].

    A response is kept if its marks span at most `largest_range`; a pair needs every judge strictly above and means
    at least `smallest_gap` apart. Own definition of the benchmark's "judges are consistent".
    """
    kept = [index for index, marks in enumerate(scores) if max(marks) - min(marks) <= largest_range]
    means = [sum(marks) / len(marks) for marks in scores]
    return [
        (a, b)
        for a in kept
        for b in kept
        if means[a] - means[b] >= smallest_gap and all(x > y for x, y in zip(scores[a], scores[b], strict=True))
    ]
