"""One round of Selfie's data: a model labels its own answers by what it has learnt since the initial model.

Source: Kim et al. 2024, arXiv 2406.04412 (spread preference annotation), eq. 3 and 4.

    r(x, y) = beta [log pi(y|x) - log pi_0(y|x)]

pi is the last round's model, which also drew the answers, pi_0 the initial one for ever: against itself a model
rewards everything with 0. Of K answers the best and the worst make the pair. beta changes no label. Sums grow with
length, and labels with them; `PerToken` is the length-normalised judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

from assent.building.best_worst import best_worst
from assent.building.built import Built, counted
from assent.building.drawn import OnStep, mean_length, nothing
from assent.comparison import Comparison
from assent.judging.verdict import Judge, apply
from assent.preference_models import Scored, Scorer

SMOOTHING = 0.1
EXTRAPOLATIONS = (0.5, 0.25, 0.125)
"""How far beyond the policy the detecting model lies, by round; later rounds keep the last."""


class PerToken:
    """A policy's log-ratio to its reference divided by the number of tokens, so that length earns nothing.

    Args:
        scorer: gives `tokens` among its dimensions, as `ImplicitScorer` does.
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.name = f"{scorer.name}, per token"

    def score(self, comparisons: Sequence[Comparison]) -> list[Scored]:
        """The scores divided by the answers' tokens; an answer without tokens keeps its 0."""
        return [
            replace(
                scored,
                rewards=tuple(
                    value / max(tokens, 1)
                    for value, tokens in zip(scored.ranking_scores(), scored.dimensions["tokens"], strict=True)
                ),
            )
            for scored in self.scorer.score(comparisons)
        ]


def self_label(drawn: Sequence[Comparison], judge: Judge, on_step: OnStep = nothing) -> Built:
    """The best against the worst answer of each prompt by the judge's scores, which stay in the records."""
    judged, reasons = [], Counter[str]()
    for index, verdict in judge.judge(drawn):
        if verdict.status == "judged":
            judged.append((index, apply(drawn[index], verdict, judge)))
        else:
            reasons[f"verdict {verdict.status}"] += 1
        on_step()
    pairs = best_worst([one for _, one in sorted(judged, key=lambda item: item[0])])
    return Built(pairs.comparisons, {**counted(reasons), **pairs.left_out})


def objective(round_number: int, beta: float = 0.1) -> dict[str, Any]:
    """The noise-aware loss of a round (from 1): the detecting model comes nearer to the policy each round."""
    extrapolation = EXTRAPOLATIONS[min(round_number, len(EXTRAPOLATIONS)) - 1]
    return {"selfie": {"beta": beta, "smoothing": SMOOTHING, "extrapolation": extrapolation}}


def measures(pairs: Sequence[Comparison]) -> dict[str, float | None]:
    """Numbers that tell of drift: mean margin of the labels, mean lengths of chosen and rejected answers."""
    margins = [
        one.candidates[0].score - one.candidates[1].score
        for one in pairs
        if one.candidates[0].score is not None and one.candidates[1].score is not None
    ]
    return {
        "pairs": float(len(pairs)),
        "mean_margin": mean(margins) if margins else None,
        "chosen_length": mean_length(one.candidates[0] for one in pairs),
        "rejected_length": mean_length(one.candidates[1] for one in pairs),
    }
