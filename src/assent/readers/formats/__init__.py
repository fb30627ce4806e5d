"""The known formats, the more specific before the more general: among those that fit a row the first wins.

A new format is a file here and a line below.
"""

from __future__ import annotations

from assent.readers.formats import (
    alpaca_eval,
    arena,
    aspects,
    bpo,
    canonical,
    community_alignment,
    demonstrations,
    images,
    joint,
    personas,
    preference,
    published_pairs,
    scored_list,
    scored_pair,
    transcripts,
    ultrafeedback,
    unpaired,
)
from assent.readers.row_format import RowFormat

FORMATS: tuple[RowFormat, ...] = (
    canonical.FORMAT,
    canonical.TABLE,
    alpaca_eval.LIST,
    alpaca_eval.ANNOTATION,
    ultrafeedback.FORMAT,
    community_alignment.FORMAT,
    arena.CONVERSATIONS,
    arena.TURNS,
    published_pairs.SHP,
    published_pairs.SAFE_RLHF,
    published_pairs.STRENGTH,
    joint.FORMAT,
    bpo.FORMAT,
    transcripts.FORMAT,
    scored_pair.FORMAT,
    images.PICKAPIC,
    images.PAIR,
    preference.EXPLICIT,
    preference.IMPLICIT,
    unpaired.FORMAT,
    images.RANKING,
    scored_list.FORMAT,
    personas.FORMAT,
    aspects.FORMAT,
    images.CAPTIONED,
    demonstrations.FORMAT,
    demonstrations.CONVERSATION,
)

__all__ = ["FORMATS"]
