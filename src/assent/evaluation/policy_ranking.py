"""What a policy's likelihoods say of pairs: ranking accuracy, what training could reach, and how hard each pair is.

Source: Chen, Malladi et al. 2024 (preference learning algorithms do not learn preference rankings), arXiv 2405.19534;
the measures are in `alignment_gap`. The idealised accuracy needs to know how raters voted; without that, only what
does not depend on it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from assent.comparison import Comparison
from assent.evaluation import alignment_gap as gap
from assent.preference_models import Scored

LOGS = ("log_probability", "reference_log_probability")


def two_sided(comparison: Comparison) -> bool:
    """Whether a comparison's judged answers have exactly two scores, so that one side is better."""
    return len({one.score for one in comparison.answers if one.judged}) == 2


def vote_share(comparison: Comparison, votes: float | None = None) -> float | None:
    """Share of raters for the better of two answers: the record's confidence, or the share given for all."""
    if comparison.confidence is not None:
        return float(max(comparison.confidence, 1 - comparison.confidence))
    return votes


def policy_ranking(
    comparisons: Sequence[Comparison], scored: Sequence[Scored], votes: float | None = None, beta: float = 0.1
) -> dict[str, Any] | None:
    """The numbers as plain data; None where the scores are no log-probabilities of a policy and its reference.

    Args:
        comparisons: judged; those without exactly two scores are passed over.
        scored: by an implicit reward.
        votes: share of raters for pairs without a confidence.
        beta: of the training, for the difficulty of pairs.
    """
    rows = [
        (comparison, result)
        for comparison, result in zip(comparisons, scored, strict=True)
        if two_sided(comparison) and set(LOGS) <= set(result.dimensions)
    ]
    if not rows:
        return None
    pairs = gap.pairs_of([one for one, _ in rows], [result for _, result in rows])
    shares = [vote_share(one, votes) for one, _ in rows]
    known = [share for share in shares if share is not None]
    numbers: dict[str, Any] = {"pairs": len(rows)}
    if len(known) == len(rows):
        numbers |= asdict(gap.alignment_gap(pairs, known))
    else:
        policy, reference = pairs.ratio(True, False), pairs.ratio(False, False)
        numbers |= {
            "ranking": float((policy >= 0).mean()),
            "ranking_per_token": float((pairs.ratio(True, True) >= 0).mean()),
            "reference_ranking": float((reference >= 0).mean()),
            "reward": float((policy - reference > 0).mean()),
        }
    numbers["pairs_by_difficulty"] = {name: len(index) for name, index in gap.difficulty_bins(pairs, beta).items()}
    moved = gap.transitions(pairs)
    numbers["transitions"] = {name: moved.count(name) for name in sorted(set(moved))}
    return numbers
