"""The sorted index of a shard: four columns of fixed width, searched on disk.

A million records take 28 MB, of which a search touches some pages.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct("<8sQ")
_MAGIC = b"AINDEX01"
_WIDTH = 28


class ShardIndex:
    """Finds keys in a shard, and reads its records."""

    def __init__(self, index: Path, data: Path) -> None:
        self.count = _HEADER.unpack(index.read_bytes()[: _HEADER.size])[1] if index.stat().st_size else 0
        self._high = self._column(index, "<u8", 0)
        self._low = self._column(index, "<u8", 8)
        self._offset = self._column(index, "<u8", 16)
        self._size = self._column(index, "<u4", 24)
        # Records are read, not mapped: pages of a mapping count as this process's memory, and a shard is large.
        self._file = os.open(data, os.O_RDONLY)

    def _column(self, index: Path, dtype: str, before: int) -> NDArray[Any]:
        if not self.count:
            return np.empty(0, dtype=dtype)
        return np.memmap(index, dtype=dtype, mode="r", offset=_HEADER.size + before * self.count, shape=(self.count,))

    def __len__(self) -> int:
        return self.count

    def find(self, keys: Sequence[bytes]) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any]]:
        """For each key: whether it is here, its record's offset and size."""
        wanted = np.frombuffer(b"".join(key[:16] for key in keys), dtype="<u8").reshape(-1, 2)
        if not self.count or not len(keys):
            none = np.zeros(len(keys), dtype=np.uint64)
            return np.zeros(len(keys), dtype=bool), none, none
        places = np.minimum(np.searchsorted(self._high, wanted[:, 0]), self.count - 1)
        # Two keys with the same first half are next to each other; 2**-64 each, but it costs nothing to be right.
        while True:
            later = (self._high[places] == wanted[:, 0]) & (self._low[places] < wanted[:, 1])
            later &= places < self.count - 1
            if not later.any():
                break
            places = places + later
        found = (self._high[places] == wanted[:, 0]) & (self._low[places] == wanted[:, 1])
        return found, self._offset[places], self._size[places]

    def read(self, offset: int, size: int) -> bytes:
        """A record's bytes."""
        return os.pread(self._file, size, offset)

    def close(self) -> None:
        """Lets go of the files."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @staticmethod
    def sound(index: Path) -> bool:
        """Whether an index is there and whole."""
        try:
            size = index.stat().st_size
            with open(index, "rb") as file:
                magic, count = _HEADER.unpack(file.read(_HEADER.size))
        except (FileNotFoundError, struct.error):
            return False
        return bool(magic == _MAGIC) and size == _HEADER.size + _WIDTH * count

    @staticmethod
    def write(index: Path, places: Mapping[bytes, tuple[int, int]]) -> None:
        """Writes the index of records at these places, whole or not at all."""
        keys = np.frombuffer(b"".join(key[:16] for key in places), dtype="<u8").reshape(-1, 2)
        values = np.array(list(places.values()), dtype=np.uint64).reshape(-1, 2)
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        temporary = index.with_name(f"{index.name}.{uuid.uuid4().hex}.part")
        with open(temporary, "wb") as file:
            file.write(_HEADER.pack(_MAGIC, len(order)))
            for column in (keys[order, 0], keys[order, 1], values[order, 0]):
                file.write(column.astype("<u8").tobytes())
            file.write(values[order, 1].astype("<u4").tobytes())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, index)
