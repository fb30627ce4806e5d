"""The array store: found again by content, in every process, after a kill, and never damaged in silence."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assent.work.store import ArrayStore


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def value(number: int) -> dict[str, np.ndarray]:
    return {"tokens": np.arange(number % 5, dtype=np.float32) + number, "shape": np.ones((2, 3), dtype=np.int8)}


def fill(store: ArrayStore, numbers: range) -> None:
    for number in numbers:
        store.put(key(number), value(number))


def assert_holds(store: ArrayStore, numbers: range) -> None:
    for number, got in zip(numbers, store.get_all([key(n) for n in numbers]), strict=True):
        assert got is not None, number
        for name, array in value(number).items():
            np.testing.assert_array_equal(got[name], array)
            assert got[name].dtype == array.dtype


def test_what_was_put_is_found_by_the_writer_and_by_others(tmp_path: Path) -> None:
    with ArrayStore(tmp_path, shard_bytes=3000) as store:
        fill(store, range(50))
        assert_holds(store, range(50))
        assert store.get(key(99)) is None
        assert len(store) == 50
    with ArrayStore(tmp_path) as again:
        assert len(list(tmp_path.glob("shard-*.data"))) > 1
        assert_holds(again, range(50))
        assert again.contains([key(3), key(99)]).tolist() == [True, False]


def test_an_empty_store_finds_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    with ArrayStore(tmp_path / "none") as store:
        assert store.get(key(1)) is None
        assert not store.contains([]).any()
    assert not (tmp_path / "none").exists()


def test_keys_with_equal_first_halves_are_told_apart(tmp_path: Path) -> None:
    keys = [b"\0" * 8 + bytes([last]) * 24 for last in range(5)]
    with ArrayStore(tmp_path) as store:
        for last, one in enumerate(keys):
            store.put(one, {"x": np.array([last])})
        store.close_shard()
        assert [int(got["x"][0]) for got in store.get_all(keys) if got] == list(range(5))
        assert store.get(b"\0" * 8 + b"\x09" * 24) is None


WRITER = """
import sys
from pathlib import Path
from tests.faults.test_work_store import ArrayStore, fill
store = ArrayStore(Path(sys.argv[1]), shard_bytes=100_000)
start = int(sys.argv[2])
for first in range(start, start + 1000, 10):
    fill(store, range(first, first + 10))
    store.flush()
    print(first + 10, flush=True)
if sys.argv[3] == "close":
    store.close()
else:
    import time; time.sleep(60)
"""


def start_writer(folder: Path, first: int, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(first), how], stdout=subprocess.PIPE, text=True
    )


def test_several_processes_append_at_once(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, first, "close") for first in (0, 1000)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with ArrayStore(tmp_path) as store:
        assert_holds(store, range(2000))


def test_a_killed_writer_loses_only_what_it_had_not_flushed(tmp_path: Path) -> None:
    writer = start_writer(tmp_path, 0, "wait")
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 500:
            break
    with ArrayStore(tmp_path):
        assert list(tmp_path.glob("open-*.data")), "a living writer's shard is left alone"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    torn = next(tmp_path.glob("open-*.data"))
    with open(torn, "ab") as file:
        file.write(b"AREC torn")
    with ArrayStore(tmp_path) as store:
        assert_holds(store, range(500))
        fill(store, range(5000, 5010))
    with ArrayStore(tmp_path) as store:
        assert_holds(store, range(500))
        assert_holds(store, range(5000, 5010))
        assert not list(tmp_path.glob("open-*"))


@pytest.mark.parametrize("damage", ["data", "index", "index cut short", "no index", "data cut short"])
def test_damage_is_detected_and_mended(tmp_path: Path, damage: str) -> None:
    with ArrayStore(tmp_path) as store:
        fill(store, range(20))
    data, index = next(tmp_path.glob("*.data")), next(tmp_path.glob("*.index"))
    if damage == "data":
        content = bytearray(data.read_bytes())
        content[-1] ^= 255
        data.write_bytes(content)
    elif damage == "data cut short":
        data.write_bytes(data.read_bytes()[:-3])
    elif damage == "index":
        content = bytearray(index.read_bytes())
        content[16 + 20 * 16] ^= 255  # an offset now points into another record
        index.write_bytes(content)
    elif damage == "index cut short":
        index.write_bytes(index.read_bytes()[:-5])
    else:
        index.unlink()
    with ArrayStore(tmp_path) as store:
        missing = [number for number in range(20) if store.get(key(number)) is None]
        assert len(missing) == store.damaged == (0 if "no index" in damage or "index cut" in damage else 1)
        for number in missing:
            store.put(key(number), value(number))
    with ArrayStore(tmp_path) as mended:
        assert_holds(mended, range(20))


LOOKUPS = """
import sys
from pathlib import Path
import numpy as np
from assent.work.index import ShardIndex
from assent.work.store import ArrayStore

def private():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024

folder, count = Path(sys.argv[1]), int(sys.argv[2])
with ArrayStore(folder) as store:
    assert len(store) == count
    before, found = private(), 0
    numbers = np.random.default_rng(0).permutation(count)
    for start in range(0, count, 4096):
        keys = [int(n).to_bytes(8, "little") * 4 for n in numbers[start:start + 4096]]
        found += int(store.contains(keys).sum())
    for n in numbers[:2000]:
        assert store.get(int(n).to_bytes(8, "little") * 4)["x"][0] == n
    assert not store.contains([b"z" * 32]).any()
    print(found, private() - before)
"""


def test_a_million_records_are_looked_up_without_loading_the_store(tmp_path: Path) -> None:
    """The keys are synthetic; index and records are written as usual."""
    count = 1_000_000
    import assent.work.store as module

    packed = module._pack({"x": np.array([0], dtype=np.int64)})
    path, places, offset = tmp_path / "shard-a.data", {}, 0
    with open(path, "wb") as file:
        for number in range(count):
            name = number.to_bytes(8, "little") * 4
            record = module._record(name, packed[:-8] + number.to_bytes(8, "little"))
            file.write(record)
            places[name] = (offset, len(record))
            offset += len(record)
    module.ShardIndex.write(path.with_suffix(".index"), places)
    size = path.stat().st_size / 2**20
    out = subprocess.run(
        [sys.executable, "-c", LOOKUPS, str(tmp_path), str(count)], capture_output=True, text=True, check=True
    )
    found, grown = out.stdout.split()
    assert int(found) == count
    assert float(grown) < 16 < size / 4  # MB of private memory
