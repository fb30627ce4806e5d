"""What has been paid for, once: answers by the content of their request, in a SQLite file that survives a kill.

Any number of threads and processes may use one file. An answer is returned to the caller only after it is on disk;
a request that another live process is working on is claimed, so that two runs side by side do not both pay for it.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from assent.errors import InputError, RunError

FORMAT = 1
LEASE_SECONDS = 900.0
"""How long a claim from another machine is believed; on this machine the owner's process is looked up instead."""

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER, money REAL,
    written REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    key TEXT PRIMARY KEY, host TEXT NOT NULL, process INTEGER NOT NULL, until REAL NOT NULL
) WITHOUT ROWID;
"""


class Journal:
    """Answers by content key; use it as a context manager or call `close`.

    Args:
        path: the SQLite file; created with its folder.
        lease_seconds: how long this run's claims hold for other machines.
    """

    def __init__(self, path: Path, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self.path = path
        self.lease_seconds = lease_seconds
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            # FULL: a committed answer survives power loss too; commits are grouped, so this costs little.
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise InputError(
                "not a journal", where=str(path), found=str(error), remedy="Name another file, or move this one away"
            ) from None
        self._check_format()
        self._release_the_dead()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives up this process's claims and closes the file."""
        with self._lock:
            with suppress(sqlite3.Error):
                owner = (socket.gethostname(), os.getpid())
                self._connection.execute("DELETE FROM claims WHERE host = ? AND process = ?", owner)
            self._connection.close()

    def get(self, key: str) -> Any:
        """The answer of one request; None where there is none yet."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """The answers that exist, by key."""
        found: dict[str, Any] = {}
        for part in _parts(keys):
            marks = ",".join("?" * len(part))
            with self._lock:
                rows = self._connection.execute(
                    f"SELECT key, value FROM entries WHERE key IN ({marks})", part
                ).fetchall()
            found.update((key, json.loads(value)) for key, value in rows)
        return found

    def put(self, key: str, value: Any, usage: Mapping[str, int] | None = None, money: float | None = None) -> None:
        """Writes one answer; it is on disk when this returns."""
        self.put_many([(key, value, usage or {}, money)])

    def put_many(self, entries: Iterable[tuple[str, Any, Mapping[str, int], float | None]]) -> None:
        """Writes answers (key, value, tokens by kind, money or None) in one transaction; the first answer stays."""
        now = time.time()
        rows = [
            (key, json.dumps(value), usage.get("prompt"), usage.get("completion"), money, now)
            for key, value, usage, money in entries
        ]
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.executemany("DELETE FROM claims WHERE key = ?", [(row[0],) for row in rows])

    def forget(self, keys: Sequence[str]) -> None:
        """Removes answers, so that they are asked for again."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])

    def claim(self, keys: Sequence[str]) -> set[str]:
        """Those of the keys that this process may now work on: unanswered, and claimed by no other live process."""
        host, process, now = socket.gethostname(), os.getpid(), time.time()
        with self._transaction() as connection:
            answered, claims = set(), {}
            for part in _parts(keys):
                marks = ",".join("?" * len(part))
                answered |= {
                    key for (key,) in connection.execute(f"SELECT key FROM entries WHERE key IN ({marks})", part)
                }
                rows = connection.execute(
                    f"SELECT key, host, process, until FROM claims WHERE key IN ({marks})", part
                )
                claims.update({key: claim for key, *claim in rows})
            mine = [
                key
                for key in dict.fromkeys(keys)
                if key not in answered and (key not in claims or _free(claims[key], host, process, now))
            ]
            until = now + self.lease_seconds
            connection.executemany(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", [(key, host, process, until) for key in mine]
            )
        return set(mine)

    def release(self, keys: Sequence[str]) -> None:
        """Gives up claims on requests that failed."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM claims WHERE key = ?", [(key,) for key in keys])

    def totals(self) -> dict[str, float]:
        """What all answers cost: `answers`, `prompt`, `completion` tokens, `money` where prices were known."""
        with self._lock:
            row = self._connection.execute(
                "SELECT count(*), sum(prompt_tokens), sum(completion_tokens), sum(money) FROM entries"
            ).fetchone()
        return dict(zip(("answers", "prompt", "completion", "money"), (value or 0 for value in row), strict=True))

    def __len__(self) -> int:
        return int(self.totals()["answers"])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise RunError(
                    f"{self.path}: the journal cannot be written ({error}). Nothing that was already in it is lost; "
                    "free some space or check the permissions and run the same command again"
                ) from None
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _check_format(self) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, FORMAT):
            raise InputError(
                "the journal was written by another version",
                where=str(self.path),
                found=f"format {found}",
                expected=f"format {FORMAT}",
            )
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _release_the_dead(self) -> None:
        """Drops the claims of processes of this machine that are gone: a killed run goes on without waiting."""
        host = socket.gethostname()
        with self._transaction() as connection:
            owners = connection.execute("SELECT DISTINCT host, process FROM claims").fetchall()
            for owner in owners:
                if _dead(host, owner):
                    connection.execute("DELETE FROM claims WHERE host = ? AND process = ?", owner)


def _parts(keys: Sequence[str]) -> Iterator[list[str]]:
    """The keys in pieces that one statement can hold."""
    for start in range(0, len(keys), 500):
        yield list(keys[start : start + 500])


def _free(claim: Sequence[Any], host: str, process: int, now: float) -> bool:
    """Whether a claim (host, process, until) is ours, over, or of a process that is gone."""
    return (claim[0], claim[1]) == (host, process) or claim[2] < now or _dead(host, claim)


def _dead(host: str, owner: Sequence[Any]) -> bool:
    """Whether a claim's owner (host, process, ...) is a process of this machine that no longer runs."""
    if owner[0] != host:
        return False
    try:
        os.kill(int(owner[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
