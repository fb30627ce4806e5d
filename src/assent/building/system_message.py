"""A prompt under a system message: how builders steer an answer without leaving the steering in the record."""

from __future__ import annotations

from typing import Any

from assent.comparison import Prompt
from assent.generation.prompts import content_text, messages_of


def under(prompt: Prompt, text: str) -> list[dict[str, Any]]:
    """The prompt's messages with the text as system message, after the one that is there."""
    messages = messages_of(prompt)
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": f"{content_text(messages[0].get('content'))}\n\n{text}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]
