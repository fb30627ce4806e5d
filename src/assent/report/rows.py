"""The JSONL files of a run folder, which a killed run may have left with half a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_lines(path: Path) -> tuple[list[Mapping[str, Any]], int]:
    """The objects of a JSONL file, and how many lines were not one."""
    if not path.is_file():
        return [], 0
    rows: list[Mapping[str, Any]] = []
    unreadable = 0
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line.strip():
            unreadable += 1
    return rows, unreadable
