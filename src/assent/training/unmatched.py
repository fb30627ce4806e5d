"""What to say where an objective and the data do not fit: what is needed, what there is, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from assent.comparison import Comparison
from assent.errors import InputError
from assent.objectives import Needs

MADE_WHILE_TRAINING = ("mismatched",)
"""Helper candidates that the trainer draws itself."""


def impossible(
    comparisons: Sequence[Comparison], needs: Needs, counts: Mapping[str, int], objective: str
) -> InputError:
    """The error of data in which no record can be used, with the counts of why each was left out."""
    reasons = ", ".join(f"{text.removeprefix('left out: ')} ({count:,})" for text, count in counts.items())
    return InputError(
        f"no record can be used: {objective} needs {describe_needs(needs)}",
        field="objective",
        found=f"{describe_data(comparisons)}{f'; {reasons}' if reasons else ''}",
        remedy=_remedy(comparisons, needs),
    )


def describe_needs(needs: Needs) -> str:
    """What an objective needs, in words."""
    words = {
        "pairs": "pairs of a better and a worse answer",
        "labels": "answers labelled good or bad",
        "lists": "two or more judged answers to a prompt",
        "demonstrations": "an answer to imitate",
        "dimensions": "scores by dimension",
        "joint_prompts": "the prompts' own likelihood",
    }
    said = [text for name, text in words.items() if getattr(needs, name)]
    said += [f"helper candidates `{role}`" for role in needs.helpers if role not in MADE_WHILE_TRAINING]
    return ", ".join(said) or "nothing in particular"


def describe_data(comparisons: Sequence[Comparison]) -> str:
    """What there is, in words."""
    if not comparisons:
        return "no records"
    kinds = Counter(_kind(comparison) for comparison in comparisons)
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())


def _kind(comparison: Comparison) -> str:
    judged = sum(candidate.judged for candidate in comparison.answers)
    if any(candidate.label is not None for candidate in comparison.answers):
        return "with labelled answers"
    if judged == 2:
        return "pairs"
    return "lists" if judged > 2 else "demonstrations without judgement"


def _remedy(comparisons: Sequence[Comparison], needs: Needs) -> str:
    kinds = {_kind(comparison) for comparison in comparisons}
    missing = [role for role in needs.helpers if role not in MADE_WHILE_TRAINING]
    if missing:
        return f"`assent build` makes helper candidates such as `{missing[0]}`"
    if needs.dimensions:
        return "Add `scores` by dimension, for example with `assent judge`, or take another objective"
    if kinds == {"with labelled answers"}:
        return "Take an objective over labels, such as kto (see `assent methods`)"
    if kinds == {"demonstrations without judgement"}:
        return "Take sft, or have the answers judged first (`assent judge`)"
    return "Look at the records with `assent data inspect`"
