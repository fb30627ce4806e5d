"""From comparisons to what a model family reads, and from those to rows that fill a device."""

from assent.encoding.causal import CausalEncoder
from assent.encoding.encoded import (
    COMPLETION,
    FIRST_STREAM,
    PROMPT,
    UNSCORED,
    EncodedCandidate,
    EncodedComparison,
)
from assent.encoding.report import EncodingReport
from assent.encoding.sight import describe, what_the_model_sees

__all__ = [
    "COMPLETION",
    "FIRST_STREAM",
    "PROMPT",
    "UNSCORED",
    "CausalEncoder",
    "EncodedCandidate",
    "EncodedComparison",
    "EncodingReport",
    "describe",
    "what_the_model_sees",
]
