"""Prompts from files: JSONL rows or lines of text, each wrong one named by its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assent.comparison import Prompt, from_dict
from assent.errors import InputError

PROMPT_FIELDS = ("prompt", "messages", "instruction", "question", "caption")


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a JSONL file (field prompt, messages, instruction, question or caption) or of a text file's lines."""
    if path.suffix == ".txt":
        return [line for _, line in _lines(path)]
    prompts: list[Prompt] = []
    for number, row in rows_of(path):
        field = next((name for name in PROMPT_FIELDS if row.get(name)), None)
        if field is None:
            raise InputError(
                "a row has no prompt",
                where=f"{path}:{number}",
                found=", ".join(map(str, row))[:200] or "nothing",
                expected=" or ".join(PROMPT_FIELDS),
            )
        try:
            prompts.append(from_dict({"prompt": row[field], "candidates": [{"completion": ""}]}).prompt)
        except InputError as error:
            raise InputError(str(error), where=f"{path}:{number}") from None
    if not prompts:
        raise InputError("no prompts", where=str(path))
    return prompts


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
