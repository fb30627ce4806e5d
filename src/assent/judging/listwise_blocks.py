"""Ratings of several answers written as blocks of lines, the way judges without JSON were asked for them.

Source: Weyssow et al. 2024, arXiv 2403.09032 (CodeUltraFeedback), whose judge replies

    [Response 1]
    Rating: 4
    Rationale: ...

with a blank line between blocks. A reply counts only if its blocks are exactly the answers, in order, each with its
header and one rating: an extra block, such as one that an answer smuggled in by being quoted, makes it unreadable.
"""

from __future__ import annotations

import re

from assent.judging.rubric import Scale

_HEADER = re.compile(r"\[?\s*(?:response|answer|text|output)\s*(\d+)\s*\]?\s*:?", re.IGNORECASE)
_RATING = re.compile(r"\W*rating\W*[:=]\W*(N/?A\b|\d+(?:\.\d+)?)\b(\s*/\s*\d+)?", re.IGNORECASE)


def rating_blocks(text: str, scale: Scale, count: int) -> tuple[float | None, ...] | None:
    """The rating of each of `count` answers in the order shown, None for `N/A`; None if they cannot all be read.

    A rating off the scale, or with a fraction that is no number of it, makes the whole reply unreadable.
    """
    blocks = [block.strip().splitlines() for block in re.split(r"\n\s*\n", text.strip())]
    if len(blocks) != count:
        return None
    found: list[float | None] = []
    for number, lines in enumerate(blocks, start=1):
        header = _HEADER.fullmatch(lines[0].strip("*# "))
        ratings = [match for line in lines[1:] if (match := _RATING.match(line))]
        if header is None or int(header[1]) != number or len(ratings) != 1:
            return None
        if ratings[0][1].upper().replace("/", "") == "NA":
            found.append(None)
            continue
        rating = scale.read((ratings[0][1] + (ratings[0][2] or "")).replace(" ", ""))
        if rating is None:
            return None
        found.append(rating)
    return tuple(found) if any(one is not None for one in found) else None
