"""Pairs and demonstrations from scored answers: best against worst, the best alone, or accepted by their score.

Sources: best against worst of K, Dong et al. 2024, arXiv 2405.07863; the best alone is RAFT, Dong et al. 2023,
arXiv 2304.06767; acceptance by score is statistical rejection sampling, Liu et al. 2024, arXiv 2309.06657:

    P(accept y) = exp((r(y) - max_k r(y_k)) / beta)

which draws from pi(y|x) exp(r / beta) up to the bound's being the sample's own maximum; beta -> 0 keeps only the
best, beta -> infinity keeps all. Texts that occur twice count once, since equal answers teach nothing about order.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from assent.building.built import Built, counted
from assent.comparison import Candidate, Comparison, content_key
from assent.errors import InputError

UNJUDGED, TIED, BELOW, CLOSE = (
    "fewer than two scored answers",
    "all scores equal",
    "no score high enough",
    "gap small",
)


def best_worst(comparisons: Sequence[Comparison], smallest_gap: float = 0.0) -> Built:
    """One pair for each scored list, its best and its worst answer; scores stay, so strength is kept.

    Args:
        comparisons: scored lists; helper candidates are dropped.
        smallest_gap: pairs whose scores differ by no more are left out, in the units of the score.
    """
    pairs, reasons = [], Counter[str]()
    for comparison in comparisons:
        ranked = distinct(comparison)
        if len(ranked) < 2:
            reasons[UNJUDGED] += 1
        elif _score(ranked[0]) == _score(ranked[-1]):
            reasons[TIED] += 1
        elif _score(ranked[0]) - _score(ranked[-1]) <= smallest_gap:
            reasons[CLOSE] += 1
        else:
            pairs.append(of_answers(comparison, [ranked[0], ranked[-1]], "best_worst"))
    return Built(pairs, counted(reasons))


def best_and_random(comparisons: Sequence[Comparison], seed: int = 0) -> Built:
    """One pair for each scored list: its best answer and a random one that scored less."""
    pairs, reasons = [], Counter[str]()
    for comparison in comparisons:
        ranked = distinct(comparison)
        losers = [one for one in ranked if _score(one) < _score(ranked[0])]
        if not losers:
            reasons[UNJUDGED if len(ranked) < 2 else TIED] += 1
            continue
        loser = random.Random(f"{seed}:{comparison.key}").choice(losers)
        pairs.append(of_answers(comparison, [ranked[0], loser], "best_and_random"))
    return Built(pairs, counted(reasons))


def best_only(comparisons: Sequence[Comparison], threshold: float | None = None, share: float = 1.0) -> Built:
    """RAFT's demonstrations: the best answer of each list, for supervised fine-tuning.

    Args:
        comparisons: scored lists.
        threshold: only answers that score at least this much.
        share: only this share of the lists, those whose best answer scores highest (RAFT over the whole batch);
            ties at the border go to the earlier list.
    """
    if not 0 < share <= 1:
        raise InputError("no share", field="share", found=str(share), expected="above 0, up to 1")
    kept, reasons = [], Counter[str]()
    for comparison in comparisons:
        ranked = distinct(comparison)
        if not ranked:
            reasons["no scored answer"] += 1
        elif threshold is not None and _score(ranked[0]) < threshold:
            reasons[BELOW] += 1
        else:
            kept.append((comparison, ranked[0]))
    most = math.ceil(share * len(kept))
    order = sorted(range(len(kept)), key=lambda at: -_score(kept[at][1]))[:most]
    reasons["best answer outside the share"] = len(kept) - most
    return Built([of_answers(kept[at][0], [kept[at][1]], "raft") for at in sorted(order)], counted(reasons))


def rejection_sample(comparisons: Sequence[Comparison], beta: float, seed: int = 0) -> Built:
    """The lists thinned to accepted answers, the best always among them.

    Args:
        comparisons: scored lists.
        beta: temperature in the units of the score.
        seed: same seed and record, same answers.
    """
    if not beta > 0:
        raise InputError("no temperature", field="beta", found=str(beta), expected="above 0")
    kept, reasons = [], Counter[str]()
    for comparison in comparisons:
        ranked = distinct(comparison)
        if not ranked:
            reasons["no scored answer"] += 1
            continue
        generator = random.Random(f"{seed}:{comparison.key}")
        top = _score(ranked[0])
        accepted = [one for one in ranked if generator.random() < math.exp((_score(one) - top) / beta)]
        reasons["answers rejected"] += len(ranked) - len(accepted)
        kept.append(of_answers(comparison, accepted, "rejection_sampling"))
    return Built(kept, counted(reasons))


def distinct(comparison: Comparison) -> list[Candidate]:
    """The judged answers, best first, each text once (the earliest of its best score stays)."""
    seen: set[str] = set()
    found = []
    for candidate in comparison.ordered():
        key = content_key([comparison.prompt_of(candidate), candidate.completion])
        if candidate.judged and key not in seen:
            seen.add(key)
            found.append(candidate)
    return found


def of_answers(comparison: Comparison, candidates: Sequence[Candidate], made_by: str) -> Comparison:
    """The comparison with other candidates; it names its parent, and a confidence about others is dropped."""
    meta = {name: value for name, value in comparison.meta.items() if name not in ("samples", "decoding")}
    meta |= {"parent": comparison.key, "made_by": made_by}
    return replace(comparison, candidates=list(candidates), confidence=None, meta=meta)


def _score(candidate: Candidate) -> float:
    assert candidate.score is not None
    return candidate.score
