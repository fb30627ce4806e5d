"""Prompts and completions as plain text, for encoders that read text."""

from __future__ import annotations

from typing import Any

from assent.comparison import Completion, Media, Prompt, TokenStreams
from assent.errors import InputError


def prompt_text(prompt: Prompt) -> str:
    """A prompt's text: raw, or one turn after the other with who speaks where there are several."""
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return _content(prompt[0].get("content"))
    return "\n\n".join(f"{message['role']}: {_content(message.get('content'))}" for message in prompt)


def completion_text(completion: Completion) -> str:
    """A completion's text; of messages, the assistant's turns."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Media | TokenStreams):
        raise InputError(
            "features of text cannot read this completion",
            field="completion",
            found=type(completion).__name__,
            remedy="Train the preference model on a backbone that reads it",
        )
    turns = [message for message in completion if message["role"] == "assistant"]
    return "\n\n".join(_content(message.get("content")) for message in turns)


def _content(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = [part["text"] for part in content if part["type"] == "text"]
    if len(texts) != len(content):
        raise InputError(
            "features of text cannot read this prompt",
            field="prompt",
            found=", ".join(sorted({part["type"] for part in content} - {"text"})),
            remedy="Train the preference model on a backbone that reads it",
        )
    return "\n".join(texts)
