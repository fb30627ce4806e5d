"""Records that repeat each other, or the questions of a test set, taken out and counted.

Contamination is measured as containment,

    c(T, R) = |T n R| / |T|,    T, R the shingles of a test question and of a record's prompt,

since a test question may stand inside a longer prompt; a prompt of the same length is then a near duplicate. A test
question of fewer words than a shingle only matches a prompt that is equal to it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from assent.building.built import Built
from assent.building.near_duplicates import near_duplicates, shingles
from assent.comparison import Comparison, Media, TokenStreams
from assent.errors import InputError
from assent.generation.prompts import content_text, text_of


def deduplicate(comparisons: Sequence[Comparison], threshold: float = 0.8, answers: bool = False) -> Built:
    """The first record of each group of near duplicates.

    Args:
        comparisons: any records.
        threshold: Jaccard similarity from which two records are the same, in (0, 1].
        answers: compare prompts and answers together; else the prompts alone.
    """
    texts = [whole_text(one) if answers else text_of(one.prompt) for one in comparisons]
    first = near_duplicates(texts, threshold)
    kept = [one for at, one in enumerate(comparisons) if first[at] == at]
    return Built(kept, {"near duplicates": len(comparisons) - len(kept)} if len(kept) < len(comparisons) else {})


def decontaminate(comparisons: Sequence[Comparison], tests: Sequence[str], threshold: float = 0.8) -> Built:
    """The records whose prompts hold no test question.

    Args:
        comparisons: training records.
        tests: the test set's questions.
        threshold: containment from which a record counts as contaminated, in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise InputError("no containment", field="threshold", found=str(threshold), expected="above 0, up to 1")
    questions = [set(shingles(text).tolist()) for text in tests]
    holders: defaultdict[int, list[int]] = defaultdict(list)
    for at, question in enumerate(questions):
        for shingle in question:
            holders[shingle].append(at)
    kept = []
    for comparison in comparisons:
        hits: Counter[int] = Counter()
        for shingle in set(shingles(text_of(comparison.prompt)).tolist()):
            hits.update(holders.get(shingle, ()))
        if all(count < threshold * len(questions[at]) for at, count in hits.items()):
            kept.append(comparison)
    left = len(comparisons) - len(kept)
    return Built(kept, {"hold a test question": left} if left else {})


def whole_text(comparison: Comparison) -> str:
    """Prompt and answers of a record, one after the other; media count by their kind and place only."""
    parts = [text_of(comparison.prompt)]
    for candidate in comparison.candidates:
        completion = candidate.completion
        if isinstance(completion, str):
            parts.append(completion)
        elif not isinstance(completion, Media | TokenStreams):
            parts += [content_text(turn.get("content")) for turn in completion]
        else:
            parts.append(repr(completion))
    return "\n\n".join(parts)
