"""From comparisons to what a model family reads, and from those to rows that fill a device."""

from assent.encoding.encoded import UNSCORED, EncodedCandidate, EncodedComparison

__all__ = ["UNSCORED", "EncodedCandidate", "EncodedComparison"]
