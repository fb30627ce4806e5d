"""Binary features of comparisons for routing: how alike and how long the answers are, and tags of the record."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assent.building.route import Features, binned, percentiles
from assent.comparison import Comparison
from assent.errors import InputError
from assent.preference_models.text import completion_text, prompt_text

WORD = re.compile(r"\w+")
CAPITALISED = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'-]+")
BINS = ("low", "middle", "high")


@dataclass(frozen=True)
class RouteFeatures:
    """Features with their names, constant ones left out.

    Args:
        table: [N, F].
        names: F names.
        constant: names of features that no or every comparison has.
    """

    table: Features
    names: tuple[str, ...]
    constant: tuple[str, ...]


def route_features(
    comparisons: Sequence[Comparison], similarity: Mapping[str, Sequence[float]] | None = None
) -> RouteFeatures:
    """Similarity of the two answers, lengths as percentiles, and `meta.tags` (a list of strings) where given.

    Args:
        comparisons: two answers each.
        similarity: further numbers between 0 and 1 by name, one for each comparison: what a text encoder says.
    """
    numbers: dict[str, list[float]] = {}
    for index, comparison in enumerate(comparisons):
        own = _numbers(comparison)
        ratio = own.pop("length ratio")
        for name, values in (similarity or {}).items():
            own[name] = values[index]
            if name == "BERTScore":
                own[f"{name} times length ratio"] = values[index] * ratio
        for name, value in own.items():
            numbers.setdefault(name, []).append(value)
    columns: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]] = {}
    for name, values in numbers.items():
        table = binned(percentiles(values) if name.startswith("length") else values)
        columns |= {f"{name}: {part}": table[:, index] for index, part in enumerate(BINS)}
    tags = [_tags(comparison) for comparison in comparisons]
    for tag in sorted({tag for row in tags for tag in row}):
        columns[f"tag: {tag}"] = np.array([tag in row for row in tags])
    varying = [name for name, column in columns.items() if 0 < column.sum() < len(column)]
    if not varying:
        raise InputError("no feature differs between the comparisons", found=f"{len(comparisons)} comparisons")
    return RouteFeatures(
        np.stack([columns[name] for name in varying], axis=1),
        tuple(varying),
        tuple(name for name in columns if name not in varying),
    )


def _numbers(comparison: Comparison) -> dict[str, float]:
    texts = [completion_text(candidate.completion) for candidate in comparison.answers[:2]]
    if len(texts) != 2:
        raise InputError("routing needs two answers", where=comparison.key[:12], found=str(len(texts)))
    words = [WORD.findall(text.lower()) for text in texts]
    lengths = sorted(map(len, words))
    ratio = math.exp(1 - max(lengths[1], 1) / max(lengths[0], 1))
    return {
        "length ratio": ratio,
        "similarity": overlap(*words),
        "similarity times length ratio": overlap(*words) * ratio,
        "entities in common": shared_entities(*texts),
        "length of the prompt": float(len(WORD.findall(prompt_text(comparison.prompt)))),
        "length of the shorter": float(lengths[0]),
        "length of the longer": float(lengths[1]),
        "length difference": float(lengths[1] - lengths[0]),
    }


def overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """F1 of the words two answers share (ROUGE-1 without stemming); 1 for two empty ones."""
    if not first and not second:
        return 1.0
    common = sum((Counter(first) & Counter(second)).values())
    return 2 * common / (len(first) + len(second))


def shared_entities(first: str, second: str) -> float:
    """Names in both answers by names in either; 1 where there are none. A name: capitalised inside a sentence."""
    names = [{name.lower() for name in CAPITALISED.findall(text)} for text in (first, second)]
    union = names[0] | names[1]
    return len(names[0] & names[1]) / len(union) if union else 1.0


def _tags(comparison: Comparison) -> set[str]:
    tags = comparison.meta.get("tags") or ()
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise InputError(
            "tags are a list of texts", where=comparison.key[:12], field="meta.tags", found=repr(tags)[:60]
        )
    return set(tags)
