"""Prompts from files: JSONL rows or lines of text, each wrong one named by its line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assent.comparison import Prompt, from_dict
from assent.errors import InputError

PROMPT_FIELDS = ("prompt", "messages", "instruction", "question", "caption")


@dataclass(frozen=True)
class PromptRow:
    """A prompt and what its row says of it.

    Args:
        prompt: the first turn.
        later: what the user says in the turns after it, in order.
        category: the records' `group`.
        references: reference answers of the turns, for judges.
    """

    prompt: Prompt
    later: tuple[str, ...] = ()
    category: str | None = None
    references: tuple[str, ...] = ()


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a text file's lines, or of a JSONL file (prompt, messages, instruction, question or caption)."""
    return [row.prompt for row in read_prompt_rows(path)]


def read_prompt_rows(path: Path) -> list[PromptRow]:
    """The same with `turns` (a list of user messages in place of a prompt), `category` and `reference`."""
    if path.suffix == ".txt":
        return [PromptRow(line) for _, line in _lines(path)]
    prompts: list[PromptRow] = []
    for number, row in rows_of(path):
        turns = _texts(row, "turns", f"{path}:{number}")
        row = {**row, "prompt": turns[0]} if turns else row
        field = next((name for name in PROMPT_FIELDS if row.get(name)), None)
        if field is None:
            raise InputError(
                "a row has no prompt",
                where=f"{path}:{number}",
                found=", ".join(map(str, row))[:200] or "nothing",
                expected=" or ".join([*PROMPT_FIELDS, "turns"]),
            )
        try:
            prompt = from_dict({"prompt": row[field], "candidates": [{"completion": ""}]}).prompt
        except InputError as error:
            raise InputError(str(error), where=f"{path}:{number}") from None
        category = row.get("category") or row.get("group")
        references = _texts(row, "reference", f"{path}:{number}")
        prompts.append(PromptRow(prompt, turns[1:], None if category is None else str(category), references))
    if not prompts:
        raise InputError("no prompts", where=str(path))
    return prompts


def _texts(row: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    """A field that holds a text or a list of them; empty where it is missing."""
    value = row.get(name) or ()
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) and text for text in texts):
        raise InputError("not a list of texts", where=where, field=name, found=repr(value)[:80])
    return tuple(texts)


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbered objects of a JSONL file."""
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError("not JSON", where=f"{path}:{number}", found=str(error)) from None
        if not isinstance(row, dict):
            raise InputError("a row is an object", where=f"{path}:{number}", found=type(row).__name__)
        yield number, row


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the file cannot be read", where=str(path), found=str(error)) from None
