"""What a record refuses, with the place and what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from assent.comparison.parts import Media, Message, TokenStreams
from assent.errors import InputError

MESSAGE_ROLES = ("system", "developer", "user", "assistant", "tool")


def check_finite(value: Any, name: str) -> None:
    """Raises unless a value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("not a number", field=name, found=repr(value)[:80])
    if not math.isfinite(value):
        raise InputError("not a finite number", field=name, found=str(value), remedy="Leave it out if not judged")


def _check_text(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "text with a lone surrogate cannot be encoded", field=name, found=f"position {error.start}"
        ) from None


def check_prompt(prompt: Any) -> None:
    """Raises unless it is text or messages."""
    if isinstance(prompt, str):
        _check_text(prompt, "prompt")
        return
    _check_messages(prompt, "prompt")


def check_completion(completion: Any) -> None:
    """Raises unless it is text, messages, media or token streams."""
    if isinstance(completion, Media | TokenStreams):
        return
    if isinstance(completion, str):
        _check_text(completion, "completion")
        return
    _check_messages(completion, "completion")


def _check_messages(messages: Any, name: str) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, bytes):
        raise InputError(
            "neither text nor messages",
            field=name,
            found=type(messages).__name__,
            expected="text or messages",
        )
    for index, message in enumerate(messages):
        place = f"{name}[{index}]"
        if not isinstance(message, Mapping):
            raise InputError("a message is an object", field=place, found=type(message).__name__)
        if message.get("role") not in MESSAGE_ROLES:
            raise InputError(
                "unknown role of a message",
                field=f"{place}.role",
                found=repr(message.get("role"))[:80],
                expected=", ".join(MESSAGE_ROLES),
            )
        _check_content(message, place)


def _check_content(message: Message, place: str) -> None:
    content = message.get("content")
    if isinstance(content, str):
        _check_text(content, f"{place}.content")
    elif content is None:
        if not message.get("tool_calls"):
            raise InputError("a message without content or tool calls", field=f"{place}.content", found="null")
    elif isinstance(content, Sequence) and not isinstance(content, bytes):
        for part in content:
            if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
                raise InputError("a content part needs a type", field=f"{place}.content", found=repr(part)[:80])
            if part["type"] == "text":
                if not isinstance(part.get("text"), str):
                    raise InputError("a text part needs text", field=f"{place}.content", found=repr(part)[:80])
                _check_text(part["text"], f"{place}.content")
    else:
        raise InputError("content is neither text nor parts", field=f"{place}.content", found=type(content).__name__)
