"""Checkpoints that are there whole or not at all: written under another name, listed with sizes, then renamed."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FACTS = "assent.json"
OBJECTIVE = "objective.pt"
REFERENCE = "reference.pt"
UNFINISHED = ".unfinished"
"""The folder in which checkpoints are written; whatever is left there was cut off."""


@dataclass(frozen=True)
class Found:
    """The newest complete checkpoint of a run folder, and the newer ones that were passed over, with the reason."""

    path: Path | None
    skipped: tuple[tuple[Path, str], ...]

    @property
    def step(self) -> int:
        """Its optimizer step; 0 without one."""
        return 0 if self.path is None else _step(self.path)


def newest_complete(run_folder: Path) -> Found:
    """The checkpoint to resume from: complete by its manifest, with optimizer state."""
    skipped: list[tuple[Path, str]] = []
    candidates = sorted(
        (path for path in run_folder.glob("checkpoint-*") if path.is_dir() and _step(path) >= 0),
        key=_step,
        reverse=True,
    )
    for path in candidates:
        problem = what_is_wrong(path)
        if problem is None:
            return Found(path, tuple(skipped))
        skipped.append((path, problem))
    return Found(None, tuple(skipped))


def what_is_wrong(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be resumed from; None if it can."""
    try:
        listed = json.loads((checkpoint / MANIFEST).read_text())["files"]
    except FileNotFoundError:
        return f"it has no {MANIFEST}, so it was not written to its end"
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        return f"its {MANIFEST} cannot be read"
    for name, size in listed.items():
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size:,} bytes instead of {size:,}"
    if "trainer_state.json" not in listed:
        return "it holds no state of the trainer"
    return None


def write_manifest(folder: Path) -> None:
    """Lists every file with its size, after everything has reached the disk."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            _flush(path)
            files[path.relative_to(folder).as_posix()] = path.stat().st_size
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"files": files}, indent=1))
    _flush(manifest)
    _flush(folder)


def put_in_place(written: Path, place: Path) -> None:
    """Gives a finished folder its name; one that already has it was left by an earlier run and is replaced."""
    if place.exists():
        doomed = written.parent / f"replaced-{place.name}"
        shutil.rmtree(doomed, ignore_errors=True)
        place.rename(doomed)
        written.rename(place)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        written.rename(place)
    _flush(place.parent)


def clear_unfinished(run_folder: Path) -> None:
    """Removes what was cut off while it was written."""
    shutil.rmtree(run_folder / UNFINISHED, ignore_errors=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes JSON under a temporary name first, so that a reader never sees half of it."""
    temporary = path.with_name(f".{path.name}.unfinished")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    _flush(temporary)
    temporary.replace(path)


def _step(path: Path) -> int:
    match = re.fullmatch(r"checkpoint-(\d+)", path.name)
    return int(match.group(1)) if match else -1


def _flush(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # some systems do not open folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        logger.debug("cannot flush %s: %s", path, error)
    finally:
        os.close(handle)
