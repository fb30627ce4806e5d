"""The journal: the first answer stays, a kill loses nothing, claims of the dead are free, processes share it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from assent.errors import InputError
from assent.work.journal import Journal

WRITER = """
import sys, time
from pathlib import Path
from assent.work.journal import Journal
journal = Journal(Path(sys.argv[1]))
for index in range(10_000):
    key = f"{sys.argv[2]}{index}"
    if key in journal.claim([key]):
        journal.put(key, {"index": index}, {"prompt": 1, "completion": 2}, 0.5)
    print(index, flush=True)
"""


def test_the_first_answer_stays_and_totals_add_up(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.put("a", {"text": "first \\u2028 é"}, {"prompt": 3, "completion": 4}, 0.25)
        journal.put("a", {"text": "second"}, {"prompt": 30}, 9.0)
        journal.put("b", {"text": "unpriced"}, {"prompt": 1})
        assert journal.get("a") == {"text": "first \\u2028 é"}
        assert journal.get("c") is None
        assert journal.totals() == {"answers": 2, "prompt": 4, "completion": 4, "money": 0.25}
        journal.forget(["a"])
        assert journal.get_many(["a", "b"]) == {"b": {"text": "unpriced"}}
    with Journal(tmp_path / "j.sqlite") as again:
        assert len(again) == 1


def test_a_kill_loses_at_most_the_answer_in_flight(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    worker = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "k"], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    seen = [int(worker.stdout.readline()) for _ in range(50)]
    os.kill(worker.pid, signal.SIGKILL)
    seen += [int(line) for line in worker.stdout.read().splitlines()]
    worker.wait()
    worker.stdout.close()
    with Journal(path) as journal:
        kept = journal.get_many([f"k{index}" for index in range(10_000)])
        assert {f"k{index}" for index in seen} <= set(kept)
        assert len(kept) <= len(seen) + 1
        assert journal.claim([f"k{len(kept)}"]) == {f"k{len(kept)}"}, "the dead process's claim does not block"


def test_a_live_process_keeps_its_claims(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    code = WRITER.replace(
        "for index", "journal.claim(['x'])\nprint('claimed', flush=True)\ntime.sleep(60)\nfor index"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(path), "k"], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    try:
        assert worker.stdout.readline() == "claimed\n"
        with Journal(path) as journal:
            assert journal.claim(["x", "y"]) == {"y"}
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
    with Journal(path) as journal:
        assert journal.claim(["x"]) == {"x"}


def test_threads_claim_each_key_once(tmp_path: Path) -> None:
    # Claims are per process: what threads share is the connection, which must not break.
    with Journal(tmp_path / "j.sqlite") as journal:
        threads = [threading.Thread(target=lambda: [journal.put(f"k{i}", i) for i in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(journal) == 50


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "hello"}\n' * 100)
    with pytest.raises(InputError, match="not a journal"):
        Journal(path)
    newer = tmp_path / "newer.sqlite"
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="format 99"):
        Journal(newer)


def test_a_claim_from_another_machine_ends_with_its_lease(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        journal._connection.execute("INSERT INTO claims VALUES ('x', 'elsewhere', 1, ?)", (time.time() + 60,))
        assert journal.claim(["x"]) == set()
        journal._connection.execute("UPDATE claims SET until = ?", (time.time() - 1,))
        assert journal.claim(["x"]) == {"x"}
