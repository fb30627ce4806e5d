"""Work as a list of shards, each a pure task from its inputs to one file; done means the file and its checksum.

A task may be run twice, by anybody: it writes under a name of its own, which is renamed when complete, so the
second result replaces the first by the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assent.errors import InputError, RunError

Task = Callable[[Mapping[str, Any], Path], None]
"""Writes a shard's result, a pure function of its inputs, to the given path."""


@dataclass(frozen=True)
class Shard:
    """A piece of work.

    Args:
        number: its place in the manifest.
        inputs: all that its result depends on, as JSON.
    """

    number: int
    inputs: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The content hash of the inputs."""
        return hashlib.sha256(json.dumps(self.inputs, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """The shards of one piece of work and the folder where their results stand.

    Args:
        folder: of the results; holds `manifest.json`.
        task: dotted path `package.module:function`, so that any process can run it.
        shards: in order.
    """

    folder: Path
    task: str
    shards: tuple[Shard, ...]

    @classmethod
    def create(cls, folder: Path, task: str, inputs: Sequence[Mapping[str, Any]]) -> Manifest:
        """A new manifest, or the one that is there if it is the same work; other work in the folder is an error."""
        manifest = cls(folder, task, tuple(Shard(number, one) for number, one in enumerate(inputs)))
        folder.mkdir(parents=True, exist_ok=True)
        row = {"task": task, "shards": [shard.key for shard in manifest.shards]}
        file = folder / "manifest.json"
        if file.exists():
            try:
                found = json.loads(file.read_text())
            except ValueError:
                found = None
            if found != row:
                raise InputError(
                    "the folder holds other work",
                    where=str(folder),
                    remedy="The data or the options have changed: name another output, or remove the folder",
                )
            return manifest
        temporary = _temporary(file)
        temporary.write_text(json.dumps(row))
        temporary.replace(file)
        return manifest

    def path(self, shard: Shard) -> Path:
        """Where a shard's result stands; the name holds the key, so results of other inputs are never taken."""
        return self.folder / f"{shard.number:06d}-{shard.key[:16]}"

    def done(self, shard: Shard) -> bool:
        """Whether the result is there and whole, by its size; `check` reads it."""
        path = self.path(shard)
        try:
            return int(_sidecar(path).read_text().split()[1]) == path.stat().st_size
        except (OSError, ValueError, IndexError):
            return False

    def missing(self) -> list[Shard]:
        """The shards that are not done, in order."""
        return [shard for shard in self.shards if not self.done(shard)]

    def check(self, shard: Shard) -> Path:
        """The path of a result whose checksum holds; a damaged one is removed, so that the next run repeats it."""
        path = self.path(shard)
        if not self.done(shard) or _checksum(path) != _sidecar(path).read_text().split()[0]:
            path.unlink(missing_ok=True)
            _sidecar(path).unlink(missing_ok=True)
            raise RunError(f"{path}: the shard is missing or damaged; run the same command again")
        return path


def run_shard(task: str, inputs: Mapping[str, Any], path: Path) -> None:
    """Runs one shard: the result under a temporary name, its checksum, then both renamed."""
    temporary = _temporary(path)
    try:
        load_task(task)(inputs, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        note = _temporary(_sidecar(path))
        note.write_text(f"{_checksum(temporary)} {temporary.stat().st_size}")
        temporary.replace(path)
        note.replace(_sidecar(path))
    finally:
        temporary.unlink(missing_ok=True)


def load_task(path: str) -> Task:
    """The function of a dotted path."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"cannot import `{path}`", field="task", found=str(error)) from error


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
