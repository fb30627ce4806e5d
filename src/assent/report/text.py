"""Text that somebody else wrote, made safe to show: a report never trusts what a model produced.

Escaping keeps HTML from being HTML. That is not enough: bidirectional controls reorder what a reader sees,
control characters and lone surrogates break the file, and a string of ten megabytes makes it unreadable.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

SHOWN_CHARACTERS = 4000
"""How much of one text is shown; what is left out is counted, never silently dropped."""

# Zero-width joiners shape Persian, Indic scripts and emoji; everything else of category Cf only hides or reorders.
HARMLESS = frozenset("\n\t\u200c\u200d\u00ad")
# Control, format, surrogate, private, unassigned, and separators of lines that are not a newline.
HIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def visible(value: Any, limit: int = SHOWN_CHARACTERS) -> Markup:
    """Escaped text in which every hidden character is written out as its code point, cut at `limit` characters."""
    text, left_out = _shown(value, limit)
    markup = str(escape(text))
    for character in hidden_characters(text):
        # None of the characters that escaping writes is hidden, so the order of the two steps does not matter.
        markup = markup.replace(character, f'<span class="control">U+{ord(character):04X}</span>')
    if left_out:
        markup += f'<span class="control">… {left_out:,} more characters</span>'
    return Markup(markup)


def plain(value: Any, limit: int = SHOWN_CHARACTERS) -> str:
    """The same without markup, for places that take only text: the window's title, the text of an image."""
    text, left_out = _shown(value, limit)
    for character in hidden_characters(text):
        text = text.replace(character, f"[U+{ord(character):04X}]")
    return f"{text}… {left_out:,} more characters" if left_out else text


def hidden_characters(text: str) -> list[str]:
    """The characters of a text that a reader would not see, or that would change how the rest is seen."""
    return sorted(
        character for character in set(text) - HARMLESS if unicodedata.category(character) in HIDDEN_CATEGORIES
    )


def display(value: Any) -> str:
    """A value as a reader wants it: numbers in few digits, a dash for None, JSON-like data in one line."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {display(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(display(item) for item in value)
    return str(value)


def is_number(value: Any) -> bool:
    """Whether a table sets the value flush right."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any, limit: int) -> tuple[str, int]:
    text = (value if isinstance(value, str) else display(value)).replace("\r\n", "\n")
    return text[:limit], max(0, len(text) - limit)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e7:
        return f"{value:.3g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
