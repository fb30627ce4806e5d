"""Candidates cut to a bound, in three ways; none leaves a candidate without a scored position.

The candidates of a comparison that share a prompt keep sharing it: it is cut by the same number of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from assent.encoding.encoded import PROMPT, UNSCORED, EncodedCandidate

Truncate = Literal["drop", "prompt_left", "completion_right"]
Candidates = tuple[EncodedCandidate, ...]


class CannotCut(Exception):
    """Says why a comparison cannot be kept; the encoder leaves it out under this reason."""


def drop(candidates: Candidates, max_length: int, keep: int) -> Candidates:
    """Never: whoever is too long is left out."""
    raise CannotCut(f"longer than {max_length} tokens")


def prompt_left(candidates: Candidates, max_length: int, keep: int) -> Candidates:
    """The candidates with the start of their prompts cut off; the first `keep` ids (BOS) stay."""
    lost: dict[tuple[int, ...], int] = {}
    for candidate in candidates:
        prompt = candidate.ids[: candidate.prompt_length]
        lost[prompt] = max(lost.get(prompt, 0), len(candidate.ids) - max_length)
    return tuple(_without_start(c, lost[c.ids[: c.prompt_length]], keep, max_length) for c in candidates)


def _without_start(candidate: EncodedCandidate, lost: int, keep: int, max_length: int) -> EncodedCandidate:
    if lost <= 0:
        return candidate
    if candidate.prompt_length - lost < max(keep, 1):
        raise CannotCut(f"a completion alone is longer than {max_length} tokens")
    segments = candidate.segments[:keep] + candidate.segments[keep + lost :]
    return replace(
        candidate,
        ids=candidate.ids[:keep] + candidate.ids[keep + lost :],
        segments=(UNSCORED, *segments[1:]),
        prompt_length=candidate.prompt_length - lost,
    )


def completion_right(candidates: Candidates, max_length: int, keep: int) -> Candidates:
    """The candidates with the end of their completions cut off, end token included."""
    return tuple(_without_rest(candidate, max_length) for candidate in candidates)


def _without_rest(candidate: EncodedCandidate, max_length: int) -> EncodedCandidate:
    if len(candidate.ids) <= max_length:
        return candidate
    if candidate.prompt_length >= max_length:
        raise CannotCut(f"a prompt alone fills {max_length} tokens")
    segments = candidate.segments[:max_length]
    if all(segment in (UNSCORED, PROMPT) for segment in segments):
        raise CannotCut(f"no scored token within {max_length} tokens")
    return replace(candidate, ids=candidate.ids[:max_length], segments=segments)


POLICIES: dict[str, Callable[[Candidates, int, int], Candidates]] = {
    "drop": drop,
    "prompt_left": prompt_left,
    "completion_right": completion_right,
}
"""The truncation policies by their name in the run file."""


def tokens_of(candidates: Sequence[EncodedCandidate]) -> int:
    """How many ids the candidates hold."""
    return sum(len(candidate.ids) for candidate in candidates)
