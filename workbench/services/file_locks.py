"""Advisory file locks (flock), which the kernel releases when their process dies, however it dies.

A lock belongs to the open file, not to the process: two threads that each open the file exclude each other, too, and a
forked child would hold its parent's locks. `_open_locks` is per process because fork handlers are: each child closes
the locks that it inherits.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED = fcntl.LOCK_SH
EXCLUSIVE = fcntl.LOCK_EX
_PAUSE = 0.02
_open_locks: set[int] = set()


def open_lock(path: Path) -> int:
    """Open a lock file, not yet locked; the descriptor is closed in forked and executed children."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    _open_locks.add(descriptor)
    return descriptor


def try_lock(descriptor: int, kind: int) -> bool:
    """Take the lock if it is free; return whether it was."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_for_lock(descriptor: int, kind: int, seconds: float) -> bool:
    """Take the lock within so many seconds; return whether it was free in time."""
    deadline = time.monotonic() + seconds
    while not try_lock(descriptor, kind):
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def release(descriptor: int) -> None:
    """Unlock and close; a forked child that shares the open file does not keep the lock."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    _open_locks.discard(descriptor)
    os.close(descriptor)


def survive_fork(descriptor: int) -> None:
    """Let children forked from now on keep the lock, too."""
    _open_locks.discard(descriptor)


@contextmanager
def locked(path: Path, kind: int, seconds: float) -> Iterator[None]:
    """Hold the lock while the block lasts; raises `TimeoutError` when others hold it for so many seconds."""
    descriptor = open_lock(path)
    try:
        if not wait_for_lock(descriptor, kind, seconds):
            raise TimeoutError(f"{path}: still locked after {seconds:g} s")
        yield
    finally:
        release(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock exclusively."""
    descriptor = open_lock(path)
    try:
        return not try_lock(descriptor, SHARED)
    finally:
        release(descriptor)


def _close_in_child() -> None:
    for descriptor in _open_locks:
        os.close(descriptor)
    _open_locks.clear()


os.register_at_fork(after_in_child=_close_in_child)
