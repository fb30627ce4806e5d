"""Who finds what they value among the candidates, and how people and groups differ in what they choose.

Source: Zhang, Milli et al. 2025 (Community Alignment), arXiv 2507.09650; the measures are in `candidate_diversity`.

A candidate speaks for a value where its score of that name is above a threshold. What is on offer is measured on each
candidate set once, however many people judged it; what people choose on every record. A choice is the candidate with
the highest score; a tie is no choice. People and groups with few records are put together: a cell of one person
would say who they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import mean
from typing import Any

import numpy as np
from torch import Tensor

from assent.comparison import Candidate, Comparison, content_key
from assent.errors import InputError
from assent.evaluation import candidate_diversity as diversity
from assent.preference_models.text import completion_text

Encode = Callable[[Sequence[str]], Tensor]
"""Texts to vectors [N, H]."""


@dataclass(frozen=True)
class PluralOptions:
    """What is measured.

    Args:
        values: names among the candidates' scores, one for each value; empty: texts and choices only.
        threshold: score above which a candidate speaks for a value.
        smallest_cell: records below which a person or a group is not named.
        encode: for the diversity of texts; None leaves it out.
        seed: of the permutation test between groups.
    """

    values: tuple[str, ...] = ()
    threshold: float = 0.5
    smallest_cell: int = 10
    encode: Encode | None = field(default=None, compare=False)
    seed: int = 0


def plural_report(comparisons: Sequence[Comparison], options: PluralOptions = PluralOptions()) -> dict[str, Any]:
    """The numbers as plain data: sets, coverage by value, diversity, overlap, annotators, groups.

    Raises:
        InputError: no set of two answers, or a value that some candidate has no score of.
    """
    sets = {_set_key(one): one for one in comparisons if len(one.answers) > 1}
    if not sets:
        raise InputError("no candidate set to measure", found=f"{len(comparisons)} comparisons", expected="2 answers")
    width = Counter(len(one.answers) for one in sets.values()).most_common(1)[0][0]
    measured = [one for one in sets.values() if len(one.answers) == width]
    report: dict[str, Any] = {
        "comparisons": len(comparisons),
        "candidate_sets": len(measured),
        "candidates": width,
        # Coverage grows with the size of a set: others would not compare.
        "sets_of_another_size": len(sets) - len(measured),
    }
    if options.values:
        report |= _offered(measured, width, options)
    if options.encode is not None:
        report["texts"] = _texts(measured, options.encode)
    return report | _people(comparisons, options)


def coverage_compared(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Coverage by value of two reports with equal K, and whether one improves on every value."""
    if after["candidates"] != before["candidates"]:
        raise InputError(
            "coverage grows with the number of candidates",
            found=f"{after['candidates']} and {before['candidates']}",
            expected="sets of one size",
        )
    names = list(after["coverage"])
    columns = [[report["coverage"][name]["covered"] for name in names] for report in (after, before)]
    rows = {name: {"this": a, "other": b} for name, a, b in zip(names, *columns, strict=True)}
    return {
        "coverage_compared": rows,
        "improves_on_every_value": diversity.pareto_improves(*columns),
        "is_improved_on": diversity.pareto_improves(*reversed(columns)),
    }


def _offered(sets: Sequence[Comparison], width: int, options: PluralOptions) -> dict[str, Any]:
    labels = [[[int(s > options.threshold) for s in _values(c, one, options)] for c in one.answers] for one in sets]
    found = diversity.value_coverage(labels)
    kinds = [[_category(candidate, one, options) for candidate in one.answers] for one in sets]
    independent = diversity.independent_coverage(found.share_of_responses, width)
    return {
        "coverage": {
            name: {"covered": covered, "share_of_answers": share, "if_independent": expected}
            for name, covered, share, expected in zip(
                options.values, found.by_value, found.share_of_responses, independent, strict=True
            )
        },
        "offer": {
            "mean_coverage": found.mean,
            "least_coverage": found.least,
            "sets_with_all_values": found.all_values,
            "correlation_ratio": diversity.correlation_ratio(kinds, len(options.values) + 1),
            "pair_disagreement": mean(diversity.pair_disagreement(one) for one in kinds),
            "distinct_ratio": mean(diversity.distinct_ratio(one) for one in kinds),
        },
    }


def _texts(sets: Sequence[Comparison], encode: Encode) -> dict[str, float]:
    vendi, cosine = [], []
    for one in sets:
        vectors = encode([completion_text(candidate.completion) for candidate in one.answers]).double().numpy()
        kernel = diversity.cosine_kernel(vectors)
        vendi.append(diversity.vendi_score(vectors))
        cosine.append(float(kernel[np.triu_indices(len(kernel), 1)].mean()))
    lengths = [len(completion_text(c.completion)) for one in sets for c in one.answers]
    return {"vendi_score": mean(vendi), "mean_cosine": mean(cosine), "mean_characters": mean(lengths)}


def _people(comparisons: Sequence[Comparison], options: PluralOptions) -> dict[str, Any]:
    chosen = [(one, _choice(one)) for one in comparisons]
    choices = [(one, candidate) for one, candidate in chosen if candidate is not None]
    by_set: dict[str, list[tuple[Comparison, int]]] = {}
    for one, candidate in choices:
        by_set.setdefault(_set_key(one), []).append((one, _position(one, candidate)))
    shared = {key: rows for key, rows in by_set.items() if len(rows) > 1}
    report: dict[str, Any] = {"choices": len(choices), "no_choice": len(comparisons) - len(choices)}
    if shared:
        overlaps = [diversity.choice_overlap([at for _, at in rows]) for rows in shared.values()]
        report["overlap"] = {
            "sets_judged_by_several": len(shared),
            "pair_agreement": mean(one.pair_agreement for one in overlaps),
            "plurality_share": mean(one.plurality for one in overlaps),
            "entropy_nats": mean(one.entropy for one in overlaps),
        }
    favourite = {key: Counter(at for _, at in rows).most_common(1)[0][0] for key, rows in shared.items()}
    for title, name in (("by_annotator", "annotator"), ("by_group", "group")):
        cells = _cells(choices, name, options.smallest_cell)
        if cells:
            report[title] = {key: _cell(rows, favourite, options) for key, rows in cells.items()}
    groups = _cells(choices, "group", options.smallest_cell)
    distances = _distances({k: v for k, v in groups.items() if k != REST}, options) if options.values else {}
    return {**report, **({"group_distances": distances} if distances else {})}


REST = "(fewer records)"
Choices = Sequence[tuple[Comparison, Candidate]]


def _cells(choices: Choices, name: str, smallest: int) -> dict[str, list[tuple[Comparison, Candidate]]]:
    """Choices by annotator or group, small ones together; nothing where no record names one."""
    found: dict[str, list[tuple[Comparison, Candidate]]] = {}
    for one, candidate in choices:
        if getattr(one, name) is not None:
            found.setdefault(getattr(one, name), []).append((one, candidate))
    large = {key: rows for key, rows in sorted(found.items()) if len(rows) >= smallest}
    rest = [row for key, rows in found.items() if key not in large for row in rows]
    return {**large, **({REST: rest} if rest else {})}


def _cell(rows: Choices, favourite: Mapping[str, int], options: PluralOptions) -> dict[str, float]:
    shared = [_position(one, c) == favourite[_set_key(one)] for one, c in rows if _set_key(one) in favourite]
    numbers: dict[str, float] = {"choices": len(rows)}
    if shared:
        numbers["with_the_plurality"] = mean(map(float, shared))
    for at, name in enumerate(options.values):
        wanted = [_values(candidate, one, options)[at] > options.threshold for one, candidate in rows]
        numbers[f"chose {name}"] = mean(map(float, wanted))
    return numbers


def _distances(groups: Mapping[str, Choices], options: PluralOptions) -> dict[str, dict[str, float]]:
    """Total variation between what each two groups choose, by value, with its permutation p-value."""
    kinds = {name: [_category(candidate, one, options) for one, candidate in rows] for name, rows in groups.items()}
    found = {}
    for a, b in combinations(kinds, 2):
        distance, chance = diversity.group_distance(
            {a: kinds[a], b: kinds[b]}, len(options.values) + 1, seed=options.seed
        )
        found[f"{a} / {b}"] = {"total_variation": distance, "p_value": chance}
    return found


def _values(candidate: Candidate, comparison: Comparison, options: PluralOptions) -> list[float]:
    missing = [name for name in options.values if name not in candidate.scores]
    if missing:
        raise InputError(
            "a candidate has no score of a value",
            where=comparison.key[:12],
            field=f"scores.{missing[0]}",
            found=", ".join(candidate.scores) or "no scores by dimension",
            remedy="Label candidates first: `assent judge` with a rubric, or `assent score`",
        )
    return [candidate.scores[name] for name in options.values]


def _category(candidate: Candidate, comparison: Comparison, options: PluralOptions) -> int:
    """The value a candidate speaks for most; the number of values where it speaks for none."""
    scores = _values(candidate, comparison, options)
    best = max(range(len(scores)), key=lambda at: scores[at])
    return best if scores[best] > options.threshold else len(scores)


def _choice(comparison: Comparison) -> Candidate | None:
    judged = [candidate for candidate in comparison.answers if candidate.judged]
    if len(judged) < 2:
        return None
    top = max(candidate.score or 0.0 for candidate in judged)
    best = [candidate for candidate in judged if candidate.score == top]
    return best[0] if len(best) == 1 else None


def _set_key(comparison: Comparison) -> str:
    """The same for the same candidates of the same prompt, in whatever order they were shown."""
    return content_key([comparison.prompt, sorted(content_key(one.completion) for one in comparison.answers)])


def _position(comparison: Comparison, chosen: Candidate) -> int:
    return sorted(content_key(one.completion) for one in comparison.answers).index(content_key(chosen.completion))
