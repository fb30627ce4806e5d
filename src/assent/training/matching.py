"""What an objective needs, matched with what the data has, before anything is loaded.

Every derivation is counted and nothing is left out without a count: the counts are shown by `assent plan` and kept
in the run folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Any

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.objectives import Needs
from assent.training.unmatched import MADE_WHILE_TRAINING, impossible


@dataclass(frozen=True)
class Derivations:
    """How comparisons are made fit: `data.pairs` and `data.labels` of a run file.

    Args:
        pairs: which pairs are made of lists: best_worst, all, adjacent or refuse.
        labels: how labels are made of scores: from_pairs, refuse, or a threshold.
    """

    pairs: str = "best_worst"
    labels: str | float = "from_pairs"


@dataclass
class Matched:
    """Comparisons that the objective can take.

    Args:
        comparisons: in order.
        records: how many came in.
        counts: what was derived and what was left out, in words.
        examples: one record for each reason why records were left out.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, comparison: Comparison, reason: str) -> None:
        """Counts a record that the objective cannot use."""
        self.counts[f"left out: {reason}"] += 1
        self.examples.setdefault(reason, comparison.key[:12])

    def to_dict(self) -> dict[str, Any]:
        """JSON-like data for the run folder."""
        return {
            "records": self.records,
            "comparisons": len(self.comparisons),
            "counts": dict(self.counts),
            "examples": self.examples,
        }

    def lines(self) -> list[str]:
        """The same in sentences."""
        return [
            f"{len(self.comparisons):,} comparisons for the objective, from {self.records:,} records",
            *(f"{text}: {count:,}" for text, count in self.counts.items()),
        ]


def match(
    comparisons: Sequence[Comparison], needs: Needs, derivations: Derivations = Derivations(), objective: str = "it"
) -> Matched:
    """The comparisons in the form that the objective takes.

    Raises:
        InputError: nothing is left, or a derivation is needed that the run file refuses. It says what the objective
            needs, what there is, and what to do.
    """
    matched = Matched(records=len(comparisons))
    for comparison in comparisons:
        matched.comparisons += _fit(comparison, needs, derivations, matched)
    if not matched.comparisons:
        raise impossible(comparisons, needs, matched.counts, objective)
    return matched


def _fit(
    comparison: Comparison, needs: Needs, derivations: Derivations, matched: Matched
) -> Iterator[Comparison] | list[Comparison]:
    """The comparisons made of one record; none if it is left out."""
    present = {candidate.role for candidate in comparison.candidates}
    for role in needs.helpers:
        if role not in MADE_WHILE_TRAINING and role not in present:
            matched.leave_out(comparison, f"no helper candidate `{role}`")
            return []
    if needs.dimensions and not any(candidate.scores for candidate in comparison.answers):
        matched.leave_out(comparison, "no scores by dimension")
        return []
    if needs.labels:
        return _labelled(comparison, derivations, matched)
    if needs.pairs:
        return _pairs(comparison, needs, derivations, matched)
    if needs.lists:
        return _list(comparison, matched)
    if needs.demonstrations:
        return _demonstration(comparison, matched)
    return [comparison]


# -- pairs


def _pairs(comparison: Comparison, needs: Needs, derivations: Derivations, matched: Matched) -> list[Comparison]:
    judged = [candidate for candidate in comparison.ordered() if candidate.judged]
    if len(judged) < 2:
        matched.leave_out(comparison, "fewer than two judged answers")
        return []
    if len(judged) > 2 and derivations.pairs == "refuse":
        raise InputError(
            "the objective takes pairs and the data has lists",
            where=f"record {comparison.key[:12]}",
            field="data.pairs",
            found=f"{len(judged)} judged answers",
            expected="2",
            remedy="Set data.pairs to best_worst, all or adjacent, or take an objective over lists",
        )
    if len(judged) > 2:
        matched.counts[f"lists made into pairs ({derivations.pairs})"] += 1
    made = []
    for better, worse in _chosen_pairs(judged, derivations.pairs):
        tied = better.score == worse.score
        unsure = comparison.confidence == 0.5
        if (tied or unsure) and not needs.ties:
            matched.leave_out(
                comparison, "the scores are tied" if tied else "the judge was undecided (confidence 0.5)"
            )
            continue
        made.append(_only(comparison, (better, worse)))
    if len(made) > 1:
        matched.counts["further pairs of the same list"] += len(made) - 1
    if any(candidate.prompt is not None for candidate in judged):
        matched.counts["comparisons over different prompts"] += len(made)
    return made


def _chosen_pairs(judged: Sequence[Candidate], policy: str) -> list[tuple[Candidate, Candidate]]:
    if policy == "all":
        # Ties inside a list are no pairs; a list of two keeps its tie, which is then counted.
        return [(a, b) for a, b in combinations(judged, 2) if len(judged) == 2 or a.score != b.score]
    if policy == "adjacent":
        return [(a, b) for a, b in pairwise(judged) if len(judged) == 2 or a.score != b.score]
    return [(judged[0], judged[-1])]


def _only(comparison: Comparison, answers: Sequence[Candidate]) -> Comparison:
    """The comparison with these answers and its helpers; a confidence is kept with the order it speaks of."""
    helpers = [candidate for candidate in comparison.candidates if candidate.role is not None]
    if len(comparison.answers) == len(answers) == 2:
        return comparison
    return replace(comparison, candidates=(*answers, *helpers), confidence=None)


# -- labels


def _labelled(comparison: Comparison, derivations: Derivations, matched: Matched) -> list[Comparison]:
    answers = comparison.answers
    if any(candidate.label is not None for candidate in answers):
        unknown = sum(candidate.label is None for candidate in answers)
        if unknown:
            matched.counts["answers whose label is unknown"] += unknown
        return [comparison]
    if all(candidate.score is None for candidate in answers):
        matched.leave_out(comparison, "neither labels nor scores")
        return []
    if derivations.labels == "refuse":
        raise InputError(
            "the objective takes labels and the data has scores",
            where=f"record {comparison.key[:12]}",
            field="data.labels",
            remedy="Set data.labels to from_pairs or {threshold: x}, or take an objective over pairs",
        )
    if isinstance(derivations.labels, int | float):
        return _by_threshold(comparison, float(derivations.labels), matched)
    judged = [candidate for candidate in comparison.ordered() if candidate.judged]
    if len(judged) < 2:
        matched.leave_out(comparison, "fewer than two judged answers to take labels from")
        return []
    best, worst = judged[0], judged[-1]
    if best.score == worst.score or comparison.confidence == 0.5:
        matched.leave_out(comparison, "the scores are tied")
        return []
    matched.counts["pairs made into one good and one bad answer"] += 1
    return [_only_labelled(comparison, (replace(best, label=True), replace(worst, label=False)))]


def _only_labelled(comparison: Comparison, answers: Sequence[Candidate]) -> Comparison:
    helpers = [candidate for candidate in comparison.candidates if candidate.role is not None]
    return replace(comparison, candidates=(*answers, *helpers), confidence=None)


def _by_threshold(comparison: Comparison, threshold: float, matched: Matched) -> list[Comparison]:
    answers = []
    for candidate in comparison.answers:
        if candidate.score is None or candidate.score == threshold:
            matched.counts["answers at the threshold, or not judged: label unknown"] += 1
            answers.append(candidate)
            continue
        good = candidate.score > threshold
        matched.counts[f"answers {'above' if good else 'below'} {threshold:g}: {'good' if good else 'bad'}"] += 1
        answers.append(replace(candidate, label=good))
    if all(candidate.label is None for candidate in answers):
        matched.leave_out(comparison, "no answer above or below the threshold")
        return []
    return [_only_labelled(comparison, answers)]


# -- lists and demonstrations


def _list(comparison: Comparison, matched: Matched) -> list[Comparison]:
    judged = [candidate for candidate in comparison.answers if candidate.judged]
    if len(judged) < 2:
        matched.leave_out(comparison, "fewer than two judged answers")
        return []
    if len({candidate.score for candidate in judged}) == 1:
        matched.leave_out(comparison, "the scores are tied")
        return []
    unjudged = len(comparison.answers) - len(judged)
    if unjudged:
        matched.counts["answers that nobody judged, left out of their list"] += unjudged
        return [_only(comparison, judged)]
    return [comparison]


def _demonstration(comparison: Comparison, matched: Matched) -> list[Comparison]:
    """The best answer alone: scoring the others would cost time and change nothing."""
    answers = [candidate for candidate in comparison.ordered() if candidate.role is None]
    good = [candidate for candidate in answers if candidate.label is not False]
    if not good:
        matched.leave_out(comparison, "no answer that is worth imitating")
        return []
    if len(answers) > 1:
        matched.counts["comparisons of which only the best answer is used"] += 1
    return [replace(comparison, candidates=(good[0],), confidence=None)]
