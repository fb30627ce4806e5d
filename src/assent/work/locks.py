"""Whether a file's writer still lives: locks that end with the process that holds them."""

from __future__ import annotations

from typing import IO, Any

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


def locked(file: IO[Any]) -> bool:
    """Takes the file's lock and returns True, or False if another process (or the system) refuses it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
