"""Values of a row, checked: each function returns the value or raises an error that names the field.

Only what a format promises is accepted. A number in quotes is not a number here; formats whose files write numbers
as text say so themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assent.comparison import Message
from assent.errors import InputError

SHOWN = 80
"""Characters of a value that a message quotes."""

TURN_KEYS = (("from", "value"), ("role", "value"), ("speaker", "text"))
"""Other spellings of a message's `role` and `content`."""
TURN_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "bot": "assistant",
              "chatgpt": "assistant", "system": "system", "tool": "tool"}  # fmt: skip
"""Roles in those spellings."""


def shown(value: Any) -> str:
    """A value as a message quotes it: short, in one line, with its type where that is the trouble."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, RecursionError, TypeError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text):,} characters)"


def required(row: Mapping[str, Any], name: str) -> Any:
    """The value of a field that must be there."""
    if name not in row:
        raise InputError("the row lacks a field", field=name, found=f"fields {', '.join(map(str, row))}"[:200])
    return row[name]


def text(row: Mapping[str, Any], name: str) -> str:
    """A field that must hold text."""
    value = required(row, name)
    if not isinstance(value, str):
        raise InputError("not text", field=name, found=shown(value), expected="a string")
    return value


def optional_text(row: Mapping[str, Any], name: str) -> str | None:
    """A field that holds a short text or a number that names something, or is absent."""
    value = row.get(name)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError("not a name", field=name, found=shown(value), expected="a string or a whole number")
    return str(value)


def number(value: Any, name: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError("not a number", field=name, found=shown(value), expected="a number, or null if not judged")
    try:
        result = float(value)
    except OverflowError:
        raise InputError("too large for a number", field=name, found=f"{len(str(value))} digits") from None
    if not math.isfinite(result):
        raise InputError(
            "not a finite number", field=name, found=str(value), expected="a number, or null if not judged"
        )
    return result


def optional_number(value: Any, name: str) -> float | None:
    """A finite number, or None for null."""
    return None if value is None else number(value, name)


def truth(value: Any, name: str) -> bool | None:
    """A label: true, false, 1, 0, or null for unknown."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise InputError("not a label", field=name, found=shown(value), expected="true, false, 1, 0 or null")


def sequence(row: Mapping[str, Any], name: str) -> Sequence[Any]:
    """A field that must hold a list with something in it."""
    value = required(row, name)
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InputError("not a list", field=name, found=shown(value), expected="a list")
    if not value:
        raise InputError("an empty list", field=name, found="[]", expected="at least one item")
    return value


def content(row: Mapping[str, Any], name: str) -> str | list[Message]:
    """A field that holds a text or chat messages."""
    value = required(row, name)
    return value if isinstance(value, str) else messages(value, name)


def messages(value: Any, name: str) -> list[Message]:
    """Chat messages, in the usual spelling (`role`, `content`) whatever the file's was."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InputError("neither text nor messages", field=name, found=shown(value), expected="a string or messages")
    if not value:
        raise InputError("no messages", field=name, found="[]", expected="at least one message")
    return [_message(message, f"{name}[{index}]") for index, message in enumerate(value)]


def without(row: Mapping[str, Any], used: Iterable[str]) -> dict[str, Any]:
    """The columns that a format does not use, kept as a comparison's `meta`; a number that is not finite is none."""
    used = set(used)
    return {str(name): storable(value) for name, value in row.items() if name not in used and value is not None}


def storable(value: Any) -> Any:
    """JSON-like data without NaN or infinity, which files of rows use for "missing" and JSON does not know."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def _message(message: Any, place: str) -> Message:
    if not isinstance(message, Mapping):
        raise InputError("a message is an object", field=place, found=shown(message), expected="role and content")
    if "role" in message and ("content" in message or message.get("tool_calls")):
        if isinstance(message.get("content"), list) and not message["content"]:
            raise InputError(
                "a message without content", field=f"{place}.content", found="[]", expected="text or parts"
            )
        # Tables give every message every key; a null one is a key that the message does not have.
        return {key: item for key, item in message.items() if item is not None or key == "content"}
    for speaker, words in TURN_KEYS:
        if speaker in message and words in message:
            role = TURN_ROLES.get(str(message[speaker]).lower(), message[speaker])
            return {"role": role, "content": message[words]}
    raise InputError(
        "a message lacks a field",
        field=place,
        found=f"keys {', '.join(map(str, message))}"[:SHOWN] or "no keys",
        expected="`role` and `content`",
    )
