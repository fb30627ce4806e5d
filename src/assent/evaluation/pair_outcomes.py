"""What a scorer says of every judged pair: the rows that accuracy, calibration and bias are measured on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.preference_models import Scored
from assent.preference_models.text import completion_text


@dataclass(frozen=True)
class PairOutcome:
    """One pair that a judge decided.

    Args:
        comparison: the record's key: pairs of one list are alike and are resampled together.
        gap: the scorer's logit of the preferred candidate against the other; NaN: no verdict.
        subset: the record's group.
        annotator: who judged.
        preferred_first: whether the preferred candidate stands first in the record.
        lengths: characters of the preferred candidate and of the other.
        sources: who wrote them.
        texts: the two completions.
    """

    comparison: str
    gap: float
    subset: str | None = None
    annotator: str | None = None
    preferred_first: bool = True
    lengths: tuple[int, int] = (0, 0)
    sources: tuple[str | None, str | None] = (None, None)
    texts: tuple[str, str] = ("", "")

    @property
    def credit(self) -> float:
        """1 if the scorer agrees; a tie or no verdict is wrong, as the published protocols count."""
        return float(self.gap > 0)

    @property
    def credit_with_ties(self) -> float:
        """1 if the scorer agrees, 0.5 for a tie; no verdict is wrong."""
        return 0.5 if self.gap == 0 else float(self.gap > 0)


def pair_outcomes(comparisons: Sequence[Comparison], scored: Sequence[Scored]) -> list[PairOutcome]:
    """One row for each pair of judged candidates whose scores differ; raises where there is none."""
    rows = []
    for comparison, result in zip(comparisons, scored, strict=True):
        candidates = comparison.candidates
        judged = [index for index, candidate in enumerate(candidates) if candidate.judged]
        decided = [(a, b) for a in judged for b in judged if _score(candidates[a]) > _score(candidates[b])]
        rows += [_row(comparison, result, better, worse) for better, worse in decided]
    if not rows:
        raise InputError(
            "no pair to measure on",
            found=f"{len(comparisons)} comparisons",
            expected="two candidates with different scores",
        )
    return rows


def _row(comparison: Comparison, result: Scored, better: int, worse: int) -> PairOutcome:
    pair = comparison.candidates[better], comparison.candidates[worse]
    texts = _text(pair[0]), _text(pair[1])
    return PairOutcome(
        comparison=comparison.key,
        gap=result.gap(better, worse),
        subset=comparison.group,
        annotator=comparison.annotator,
        preferred_first=better < worse,
        lengths=(len(texts[0]), len(texts[1])),
        sources=(pair[0].source, pair[1].source),
        texts=texts,
    )


def _text(candidate: Candidate) -> str:
    try:
        return completion_text(candidate.completion)
    except InputError:
        return ""


def _score(candidate: Candidate) -> float:
    return math.nan if candidate.score is None else candidate.score
