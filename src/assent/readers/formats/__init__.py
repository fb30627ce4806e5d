"""The known formats, the more specific before the more general: among those that fit a row the first wins.

A new format is a file here and a line below.
"""

from __future__ import annotations

from assent.readers.formats import (
    alpaca_eval,
    aspects,
    bpo,
    canonical,
    demonstrations,
    images,
    joint,
    personas,
    preference,
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
