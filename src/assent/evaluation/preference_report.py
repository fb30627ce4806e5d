"""One report on a preference model from judged comparisons: accuracy, calibration, cycles, biases, agreement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from assent.comparison import Comparison, content_key
from assent.errors import InputError
from assent.evaluation.accuracy import SMALLEST_CELL, accuracy, accuracy_by, worst_tenth
from assent.evaluation.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from assent.evaluation.best_of_n import best_of_n_curve
from assent.evaluation.bias import length_bias, position_bias, style_biases
from assent.evaluation.calibration import calibration
from assent.evaluation.context_use import context_use
from assent.evaluation.pair_outcomes import PairOutcome, pair_outcomes
from assent.evaluation.policy_ranking import policy_ranking
from assent.evaluation.transitivity import transitivity
from assent.preference_models import Scored


@dataclass(frozen=True)
class ReportOptions:
    """What is measured.

    Args:
        bins: of the reliability diagram.
        gold: name of the score that is taken as the true reward in the best-of-n curve.
        smallest_cell: pairs below which an annotator is not named.
        seed: of the bootstrap.
        votes: share of raters for pairs without a confidence, for what a policy's training could reach.
        beta: of that training.
    """

    bins: int = 10
    gold: str | None = None
    smallest_cell: int = SMALLEST_CELL
    seed: int = 0
    votes: float | None = None
    beta: float = 0.1


def preference_report(
    comparisons: Sequence[Comparison], scored: Sequence[Scored], options: ReportOptions = ReportOptions()
) -> dict[str, Any]:
    """The measures by name, as plain data."""
    rows = pair_outcomes(comparisons, scored)
    annotators = accuracy_by(rows, lambda row: row.annotator, options.smallest_cell, options.seed)
    length, position = length_bias(rows), position_bias(rows)
    reversals = reversal_gaps(comparisons, scored)
    people = annotator_table(comparisons)
    report: dict[str, Any] = {
        "accuracy": asdict(accuracy(rows, options.seed)),
        "by_group": {k: asdict(v) for k, v in accuracy_by(rows, lambda row: row.subset, seed=options.seed).items()},
        "by_annotator": {name: asdict(part) for name, part in annotators.items()},
        "worst_tenth_of_annotators": worst_tenth(annotators),
        "calibration": asdict(calibration([row.gap for row in rows], options.bins)),
        "transitivity": asdict(transitivity(scored)),
        "length_bias": None if length is None else asdict(length) | {"excess": length.excess},
        "position_bias": None if position is None else asdict(position) | {"excess": position.excess},
        "style_bias": {name: asdict(b) | {"excess": b.excess} for name, b in style_biases(rows).items()},
        "agreement": {
            "cohen_kappa_with_judge": _kappa(rows),
            "krippendorff_alpha_of_annotators": krippendorff_alpha(people) if people else None,
            **_fleiss(people),
        },
        "context_use": asdict(context_use(reversals)) if reversals else None,
    }
    ranking = policy_ranking(comparisons, scored, options.votes, options.beta)
    if ranking is not None:
        report["policy_ranking"] = ranking
    if options.gold is not None:
        report["best_of_n"] = [asdict(point) for point in _curve(comparisons, scored, options)]
    return report


def _kappa(rows: Sequence[PairOutcome]) -> float | None:
    """Cohen's kappa of scorer and judge on who of the record's two wins."""
    judge = [row.preferred_first for row in rows]
    model = [row.preferred_first == (row.gap > 0) if row.gap else None for row in rows]
    value = cohen_kappa([str(x) for x in judge], [str(x) for x in model])
    return None if math.isnan(value) else value


def _fleiss(people: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Fleiss' kappa of the annotators over the pairs that the most usual number of them judged, and how many."""
    votes = [[value for value in column if value is not None] for column in zip(*people, strict=True)]
    if not votes:
        return {"fleiss_kappa_of_annotators": None}
    judges = Counter(map(len, votes)).most_common(1)[0][0]
    used = [(sum(map(bool, one)), len(one) - sum(map(bool, one))) for one in votes if len(one) == judges]
    kappa = fleiss_kappa(used)
    return {
        "fleiss_kappa_of_annotators": None if math.isnan(kappa) else kappa,
        "fleiss_pairs": len(used),
        "fleiss_annotators_each": judges,
    }


def annotator_table(comparisons: Sequence[Comparison]) -> list[list[float | None]]:
    """[annotators][pairs] 1 or 0 (which of a pair won), over pairs that two or more people judged."""
    verdicts: dict[str, dict[str, float]] = {}
    for comparison in comparisons:
        judged = [candidate for candidate in comparison.candidates if candidate.judged]
        if comparison.annotator is None or len(judged) != 2 or judged[0].score == judged[1].score:
            continue
        keys = [content_key([comparison.prompt, candidate.completion]) for candidate in judged]
        winner = keys[0] if (judged[0].score or 0) > (judged[1].score or 0) else keys[1]
        pair = content_key([sorted(keys), comparison.context])
        verdicts.setdefault(pair, {})[comparison.annotator] = float(winner == min(keys))
    shared = {pair: votes for pair, votes in verdicts.items() if len(votes) >= 2}
    names = sorted({name for votes in shared.values() for name in votes})
    return [[votes.get(name) for votes in shared.values()] for name in names]


def reversal_gaps(comparisons: Sequence[Comparison], scored: Sequence[Scored]) -> list[tuple[float, float]]:
    """(gap under the criterion that prefers a, gap under the one that prefers b) of rows whose verdict flips."""
    seen: dict[str, tuple[str, float]] = {}
    found = []
    for comparison, result in zip(comparisons, scored, strict=True):
        judged = [i for i, candidate in enumerate(comparison.candidates) if candidate.judged]
        if comparison.context is None or len(judged) != 2:
            continue
        one, other = sorted(judged, key=lambda i: -(comparison.candidates[i].score or 0))
        keys = {i: content_key([comparison.prompt, comparison.candidates[i].completion]) for i in judged}
        pair, gap = content_key(sorted(keys.values())), result.gap(one, other)
        if pair in seen and seen[pair][0] == keys[other]:
            # The gaps are of the same candidate against the same other one, so the second changes its sign.
            found.append((seen.pop(pair)[1], -gap))
        else:
            seen[pair] = (keys[one], gap)
    return found


def _curve(comparisons: Sequence[Comparison], scored: Sequence[Scored], options: ReportOptions) -> Any:
    proxies, golds = [], []
    for comparison, result in zip(comparisons, scored, strict=True):
        values = result.ranking_scores()
        known = [i for i, c in enumerate(comparison.candidates) if options.gold in c.scores]
        if len(known) >= 2:
            proxies.append([values[i] for i in known])
            golds.append([comparison.candidates[i].scores[str(options.gold)] for i in known])
    if not proxies:
        raise InputError(
            "no true reward for the best-of-n curve",
            field="--gold",
            found=str(options.gold),
            expected="a name among the candidates' `scores`",
        )
    return best_of_n_curve(proxies, golds, seed=options.seed)
