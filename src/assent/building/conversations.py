"""Logged conversations, read from a file: each a list of chat messages, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assent.comparison import Candidate, Comparison
from assent.errors import InputError
from assent.generation.prompt_files import rows_of


def read_conversations(path: Path) -> list[list[dict[str, Any]]]:
    """The conversation of each row, under `messages` or `conversation`; an error names file and line."""
    return [_conversation(path, number, row) for number, row in rows_of(path)]


def _conversation(path: Path, number: int, row: dict[str, Any]) -> list[dict[str, Any]]:
    chat = row.get("messages") or row.get("conversation")
    try:
        if not isinstance(chat, list) or not chat:
            raise InputError("a row has no conversation", found=", ".join(map(str, row))[:200], expected="messages")
        Comparison(chat, [Candidate("")])
    except InputError as error:
        raise InputError(str(error), where=f"{path}:{number}") from None
    return [dict(message) for message in chat]
