"""A comparison as a model sees it: token ids or media, which positions are scored, and what the judge said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assent.comparison import content_key

UNSCORED = -1
"""Segment of a position that is read but not scored: the prompt, other people's turns, template text."""

COMPLETION, PROMPT, FIRST_STREAM = 0, 1, 2
"""Segments: a completion's tokens, its prompt's (joint preferences), and from 2 on streams or marked spans."""


@dataclass(frozen=True)
class EncodedCandidate:
    """One candidate in tokens.

    Args:
        ids: prompt and completion, BOS and end token included.
        segments: for each id, UNSCORED or the segment of `Likelihoods` that it is scored in.
        prompt_length: how many of the ids belong to the prompt.
        media: what the model reads besides the ids (pixel values, latents, audio), by the model's keyword.
        media_keys: content hashes of the media, in order; part of `key`.
    """

    ids: tuple[int, ...]
    segments: tuple[int, ...]
    prompt_length: int
    media: Mapping[str, Any] = field(default_factory=dict)
    media_keys: tuple[str, ...] = ()

    @property
    def scored(self) -> int:
        """How many positions are scored."""
        return len(self.segments) - self.segments.count(UNSCORED)

    @property
    def key(self) -> str:
        """Content hash of everything that decides the candidate's log-probabilities under a given model."""
        return content_key([list(self.ids), list(self.segments), list(self.media_keys)])


@dataclass(frozen=True)
class EncodedComparison:
    """A comparison ready for a policy, candidates in column order (judged best first, unjudged, helpers last).

    Args:
        id: the comparison's key, or the file and line it came from; used in messages and seeds.
        candidates: K of them.
        scores: K numbers; NaN: not judged.
        labels: K numbers: 1, 0 or -1 (unknown).
        roles: K names of helpers, None for answers.
        dimensions: scores by dimension, K each.
    """

    id: str
    candidates: tuple[EncodedCandidate, ...]
    scores: tuple[float, ...]
    labels: tuple[int, ...]
    roles: tuple[str | None, ...]
    dimensions: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    confidence: float | None = None
    weight: float = 1.0
    annotator: str | None = None
    group: str | None = None
    context: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """How many ids its candidates hold, prefixes counted for each."""
        return sum(len(candidate.ids) for candidate in self.candidates)
