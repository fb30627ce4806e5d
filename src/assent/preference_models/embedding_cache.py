"""Vectors of texts by content, in one SQLite file: written as they are made, shared by runs, safe to kill."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from assent.errors import InputError

CHUNK = 256
"""Texts that are embedded between two writes: what a kill can cost."""


class EmbeddingCache:
    """Vectors under the key of an encoder; a context manager.

    Args:
        path: the file; created with its folder.
        encoder: what decides the vectors.
    """

    def __init__(self, path: Path, encoder: str) -> None:
        self.encoder = encoder
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, timeout=60)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
        except sqlite3.DatabaseError as error:
            raise InputError("not a cache of vectors", where=str(path), found=str(error)) from None

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None
    ) -> None:
        self._connection.close()

    def complete(self, texts: Sequence[str], encode: Callable[..., Tensor], progress: Any = None) -> Tensor:
        """[N, H] of the texts, those that are missing made by `encode` and written in chunks."""
        keys = [hashlib.sha256(f"{self.encoder}\0{text}".encode()).digest() for text in texts]
        known: dict[bytes, Tensor] = {}
        for key in set(keys):
            row = self._connection.execute("SELECT value FROM vectors WHERE key = ?", (key,)).fetchone()
            if row is not None:
                known[key] = torch.from_numpy(np.frombuffer(row[0], dtype="<f4").copy())
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        names = list(missing)
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            vectors = encode([missing[key] for key in chunk], None)
            rows = [(key, vector.numpy().astype("<f4").tobytes()) for key, vector in zip(chunk, vectors, strict=True)]
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
            known.update(zip(chunk, vectors, strict=True))
            if progress is not None:
                progress(min(start + CHUNK, len(names)), len(names))
        return torch.stack([known[key] for key in keys]) if keys else torch.empty(0, 0)
