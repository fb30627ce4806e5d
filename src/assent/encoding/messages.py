"""Messages as chat templates expect them: plain text, arguments as objects, no end tokens of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from assent.comparison import Media, TokenStreams
from assent.errors import InputError


def text_of(content: Any) -> str:
    """A message's content as text; an error where it has anything else."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, Media | TokenStreams):
        raise _not_text(type(content).__name__)
    for part in content:
        if part["type"] != "text":
            raise _not_text(str(part["type"]))
    return "".join(part["text"] for part in content)


def _not_text(found: str) -> InputError:
    return InputError(
        "a text model reads text only",
        field="content",
        found=found,
        remedy="Use a model that reads this, or leave such records out",
    )


def call_with_object(call: Any) -> Any:
    """A tool call whose arguments are an object: services send them as JSON text, templates want the object."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}
    except json.JSONDecodeError:
        return call


def without_end(text: str, end: str | None) -> str:
    """The text without end tokens that the data wrote out: the end is set once, by the template or the encoder."""
    while end and text.rstrip().endswith(end):
        text = text.rstrip()[: -len(end)]
    return text
