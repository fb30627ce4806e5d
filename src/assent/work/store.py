"""An append-only store of arrays under content keys, shared by runs and processes.

A folder of shards. Each writer has a shard of its own, so nobody waits for anybody; a full shard gets a sorted
index of fixed width, which readers search without loading it. Every record carries its key and a checksum: a
torn tail after a kill is ignored, a damaged record is as good as missing (and counted), and a lost index is
made again from the records.
"""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from assent.errors import RunError
from assent.work.index import ShardIndex
from assent.work.locks import locked

Arrays = Mapping[str, NDArray[np.generic]]

SHARD_BYTES = 64 * 1024 * 1024
"""A shard is closed at this size: the most that one reader holds open entries of in memory."""

_RECORD = struct.Struct("<4sI32sQ")
_MAGIC = b"AREC"


class ArrayStore:
    """Reads and appends records: a 32-byte key and some named arrays.

    Args:
        folder: where the shards are; made when first written to.
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder = Path(folder)
        self.shard_bytes = shard_bytes
        self.damaged = 0
        self._shards: dict[str, ShardIndex] = {}
        self._writer: _Writer | None = None
        self.refresh()

    def refresh(self) -> None:
        """Sees the shards that others have closed since, and saves what killed writers left behind."""
        if not self.folder.is_dir():
            return
        for path in self.folder.glob("open-*.data"):
            if self._writer is None or path != self._writer.path:
                _adopt(path)
        newest = sorted(self.folder.glob("shard-*.data"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        shards = {path.stem: self._shards.get(path.stem) or _open_shard(path) for path in newest}
        for name in set(self._shards) - set(shards):
            self._shards[name].close()
        self._shards = shards

    def __len__(self) -> int:
        """How many records there are; a key written by two processes counts twice."""
        return sum(len(shard) for shard in self._shards.values()) + (len(self._writer.places) if self._writer else 0)

    def contains(self, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which of the keys are there, by the indexes alone."""
        found = np.zeros(len(keys), dtype=bool)
        if self._writer:
            found |= np.fromiter((key in self._writer.places for key in keys), dtype=bool, count=len(keys))
        for shard in self._shards.values():
            found |= shard.find(keys)[0]
        return found

    def get(self, key: bytes) -> dict[str, NDArray[np.generic]] | None:
        """The arrays under a key; None if there are none, or only damaged ones (counted)."""
        return next(iter(self.get_all([key])))

    def get_all(self, keys: Sequence[bytes]) -> list[dict[str, NDArray[np.generic]] | None]:
        """The same for many keys."""
        results: list[dict[str, NDArray[np.generic]] | None] = [None] * len(keys)
        if self._writer:
            for place, key in enumerate(keys):
                results[place] = self._writer.get(key)
        for shard in self._shards.values():
            missing = [place for place, result in enumerate(results) if result is None]
            if not missing:
                break
            found, offsets, sizes = shard.find([keys[place] for place in missing])
            for place, here, offset, size in zip(missing, found, offsets, sizes, strict=True):
                if here:
                    payload = _checked(shard.read(int(offset), int(size)), keys[place])
                    self.damaged += payload is None
                    results[place] = None if payload is None else _unpack(payload)
        return results

    def put(self, key: bytes, arrays: Arrays) -> None:
        """Appends a record; durable after `flush`."""
        if self._writer is None:
            self._writer = _Writer(self.folder)
        self._writer.put(key, _pack(arrays))
        if self._writer.size >= self.shard_bytes:
            self.close_shard()

    def flush(self) -> None:
        """Makes what was put so far survive a crash of the machine."""
        if self._writer:
            self._writer.flush()

    def close_shard(self) -> None:
        """Ends the own shard, so that others see it."""
        if self._writer is None:
            return
        path = self._writer.close()
        self._writer = None
        if path is not None:
            self._shards = {path.stem: _open_shard(path), **self._shards}

    def close(self) -> None:
        """Ends the own shard and lets go of all files."""
        self.close_shard()
        for shard in self._shards.values():
            shard.close()
        self._shards = {}

    def __enter__(self) -> ArrayStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Writer:
    """A shard that is being written, under a lock that ends with the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"open-{uuid.uuid4().hex}.data"
        # Locked before others can see it, or they would take it for a dead writer's.
        hidden = folder / f"new-{self.path.name}"
        self.file = open(hidden, "xb+")  # noqa: SIM115  (kept open for the writer's life)
        locked(self.file)
        os.replace(hidden, self.path)
        self.places: dict[bytes, tuple[int, int]] = {}
        self.size = 0

    def put(self, key: bytes, payload: bytes) -> None:
        if len(key) != 32:
            raise ValueError(f"a key has 32 bytes, got {len(key)}")
        record = _record(key, payload)
        try:
            self.file.write(record)
        except OSError as error:
            raise RunError(f"cannot write to the store {self.path.parent}: {error}") from error
        self.places[key] = (self.size, len(record))
        self.size += len(record)

    def get(self, key: bytes) -> dict[str, NDArray[np.generic]] | None:
        if key not in self.places:
            return None
        self.file.flush()
        offset, size = self.places[key]
        payload = _checked(os.pread(self.file.fileno(), size, offset), key)
        return None if payload is None else _unpack(payload)

    def flush(self) -> None:
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise RunError(f"cannot write to the store {self.path.parent}: {error}") from error

    def close(self) -> Path | None:
        self.flush()
        path = None
        if self.places:
            path = _finish(self.path, self.places)
        else:
            self.path.unlink()
        self.file.close()
        return path


def _record(key: bytes, payload: bytes) -> bytes:
    return _RECORD.pack(_MAGIC, zlib.crc32(payload, zlib.crc32(key)), key, len(payload)) + payload


def _checked(record: bytes, key: bytes) -> bytes | None:
    """The payload of a record, or None if it is not what was written under the key."""
    if len(record) < _RECORD.size:
        return None
    magic, checksum, written, size = _RECORD.unpack_from(record)
    payload = record[_RECORD.size :]
    if magic != _MAGIC or written != key or size != len(payload):
        return None
    return payload if zlib.crc32(payload, zlib.crc32(key)) == checksum else None


def _scan(path: Path) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """(key, (offset, size)) of the sound records of a shard, up to a torn tail."""
    size, offset = path.stat().st_size, 0
    with open(path, "rb") as file:
        while offset + _RECORD.size <= size:
            head = file.read(_RECORD.size)
            magic, _, key, length = _RECORD.unpack(head)
            if magic != _MAGIC or offset + _RECORD.size + length > size:
                return
            if _checked(head + file.read(length), key) is not None:
                yield key, (offset, _RECORD.size + length)
            offset += _RECORD.size + length


def _adopt(path: Path) -> None:
    """Closes the shard of a writer that is gone; leaves that of a living one alone."""
    try:
        with open(path, "rb+") as file:
            if locked(file) and path.exists():
                places = dict(_scan(path))
                if places:
                    _finish(path, places)
                else:
                    path.unlink(missing_ok=True)
    except FileNotFoundError:
        return


def _finish(path: Path, places: Mapping[bytes, tuple[int, int]]) -> Path:
    """Gives an ended shard its index, then its name: a shard that can be seen is complete."""
    shard = path.with_name(path.name.replace("open-", "shard-"))
    ShardIndex.write(shard.with_suffix(".index"), places)
    os.replace(path, shard)
    return shard


def _open_shard(path: Path) -> ShardIndex:
    index = path.with_suffix(".index")
    if not ShardIndex.sound(index):
        ShardIndex.write(index, dict(_scan(path)))
    return ShardIndex(index, path)


def _pack(arrays: Arrays) -> bytes:
    """Arrays as bytes: for each its name, type, shape and content, little-endian."""
    parts = [struct.pack("<H", len(arrays))]
    for name, array in arrays.items():
        # `tobytes` is in row order whatever the strides; `ascontiguousarray` would make a number a vector.
        array = np.asarray(array)
        header = f"{name};{array.dtype.str};{','.join(map(str, array.shape))}".encode()
        parts += [struct.pack("<HQ", len(header), array.nbytes), header, array.tobytes()]
    return b"".join(parts)


def _unpack(payload: bytes) -> dict[str, NDArray[np.generic]]:
    arrays: dict[str, NDArray[np.generic]] = {}
    (count,), offset = struct.unpack_from("<H", payload), 2
    for _ in range(count):
        head, size = struct.unpack_from("<HQ", payload, offset)
        offset += 10
        name, dtype, shape = payload[offset : offset + head].decode().split(";")
        offset += head
        array = np.frombuffer(payload[offset : offset + size], dtype=np.dtype(dtype))
        arrays[name] = array.reshape([int(length) for length in shape.split(",") if length])
        offset += size
    return arrays
