"""Exact and near duplicates among texts: for each text, the first one that it repeats.

Near duplicates: MinHash signatures (Broder 1997) of the texts' shingles, compared only within the buckets of
locality-sensitive hashing (Indyk, Motwani 1998), and every find confirmed by the exact Jaccard similarity

    J(A, B) = |A n B| / |A u B|,    A, B the sets of five words in a row (characters where a script has no spaces).

With 16 bands of 4 a pair at J = 0.8 is missed with probability (1 - 0.8^4)^16 = 0.0002. In a bucket a text is
compared with at most `HEADS` others, so the time is linear in the texts whatever they are; a file in which thousands
of texts share a template can therefore hide some.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from assent.errors import InputError

SHINGLE = 5
BANDS, ROWS = 16, 4
HEADS = 16
PRIME = np.uint64((1 << 31) - 1)
"""A Mersenne prime above every hash kept, so that a * h + b stays within 64 bits."""
SLACK = 0.2
"""How far below the threshold an estimate may lie before the exact check is skipped: over three standard errors."""
UNITS = re.compile(r"\w+|[^\w\s]")


def exact_duplicates(texts: Sequence[str]) -> list[int]:
    """For each text the index of the first equal one, its own if there is none before it."""
    first: dict[str, int] = {}
    return [first.setdefault(text, index) for index, text in enumerate(texts)]


def near_duplicates(texts: Sequence[str], threshold: float = 0.8, seed: int = 0) -> list[int]:
    """For each text the index of the first one it nearly repeats, its own if there is none before it.

    Equal texts count as near. Likeness is not transitive: a text joins the group of whichever text it is like.

    Args:
        texts: any texts; empty ones are like nothing but each other.
        threshold: the Jaccard similarity of shingles from which two texts are near duplicates, in (0, 1].
        seed: of the hash functions.
    """
    if not 0 < threshold <= 1:
        raise InputError("no similarity", field="threshold", found=str(threshold), expected="above 0, up to 1")
    group = exact_duplicates(texts)
    distinct = [index for index, first in enumerate(group) if index == first]
    for index, earlier in _alike(texts, distinct, threshold, seed):
        _join(group, index, earlier)
    return [_first(group, index) for index in range(len(texts))]


def similarity(first: str, second: str) -> float:
    """The Jaccard similarity of the shingles of two texts."""
    one, other = set(shingles(first).tolist()), set(shingles(second).tolist())
    return len(one & other) / len(one | other) if one | other else float(first == second)


def _alike(texts: Sequence[str], distinct: Sequence[int], threshold: float, seed: int) -> Iterator[tuple[int, int]]:
    """Pairs (index, earlier index) of distinct texts that are alike."""
    hashes = _HashFunctions(seed)
    signatures = np.empty((len(distinct), BANDS * ROWS), dtype=np.uint32)
    buckets: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(BANDS)]
    for place, index in enumerate(distinct):
        found = shingles(texts[index])
        if not len(found):
            continue
        signatures[place] = hashes.signature(found)
        compared: set[int] = set()
        for band, bucket in enumerate(buckets):
            heads = bucket[signatures[place, band * ROWS : (band + 1) * ROWS].tobytes()]
            compared.update(heads[-HEADS:])
            heads.append(place)
            del heads[1:-HEADS]
        mine = set(found.tolist())
        for other in sorted(compared):
            estimate = float((signatures[place] == signatures[other]).mean())
            if estimate < threshold - SLACK:
                continue
            theirs = set(shingles(texts[distinct[other]]).tolist())
            if len(mine & theirs) >= threshold * len(mine | theirs):
                yield index, distinct[other]
                break


class _HashFunctions:
    """BANDS * ROWS hash functions a * h + b modulo a prime."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.a = generator.integers(1, int(PRIME), BANDS * ROWS, dtype=np.uint64)
        self.b = generator.integers(0, int(PRIME), BANDS * ROWS, dtype=np.uint64)

    def signature(self, shingles: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """[BANDS * ROWS] the smallest hash of the shingles under each function."""
        hashed: NDArray[np.uint64] = (shingles[:, None] * self.a + self.b) % PRIME
        return np.min(hashed, axis=0).astype(np.uint32)  # type: ignore[no-any-return]


def shingles(text: str) -> NDArray[np.uint64]:
    """The distinct hashes of the units in a row; a text shorter than a shingle is one."""
    units = _units(text.lower())
    if not units:
        return np.empty(0, dtype=np.uint64)
    size = min(SHINGLE, len(units))
    rows = {
        zlib.crc32(" ".join(units[start : start + size]).encode(errors="replace"))
        for start in range(len(units) - size + 1)
    }
    return np.fromiter(rows, dtype=np.uint64, count=len(rows)) % PRIME


def _units(text: str) -> list[str]:
    words = UNITS.findall(text)
    # Scripts without spaces give a few very long "words"; there the characters are what repeats.
    return list("".join(words)) if words and sum(map(len, words)) > 15 * len(words) else words


def _first(group: list[int], index: int) -> int:
    while group[index] != index:
        group[index] = group[group[index]]
        index = group[index]
    return index


def _join(group: list[int], index: int, other: int) -> None:
    one, two = _first(group, index), _first(group, other)
    group[max(one, two)] = min(one, two)
