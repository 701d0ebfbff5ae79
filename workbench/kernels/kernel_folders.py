"""Folders of kernels: one for each, below the temporary folder, locked by its owner and removed with it.

An orphaned folder is removed only when name, user and file type are ours, its owner's process does not exist and its
lock is free: containers that share a temporary folder share locks, but do not see each other's processes.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench.services import file_locks

_PREFIX = "wb-kernel-"
_LOCK = "owner.lock"
_LONGEST_SOCKET_PATH = 100


@contextmanager
def kernel_folder() -> Iterator[Path]:
    """Yield a new private folder (0700) for one kernel and remove it at the end; remove orphaned folders first."""
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _LONGEST_SOCKET_PATH - 40:
        base = Path("/tmp")  # unix socket paths hold 107 bytes
    remove_orphaned_folders(base)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
    lock = file_locks.open_lock(folder / _LOCK)
    try:
        file_locks.try_lock(lock, file_locks.EXCLUSIVE)
        yield folder
    finally:
        remove_kernel_folder(folder)
        file_locks.release(lock)


def remove_kernel_folder(folder: Path) -> None:
    """Remove a kernel's folder with its content; a path of another kind or user is left alone."""
    if folder.name.startswith(_PREFIX) and _is_ours(folder):
        shutil.rmtree(folder, ignore_errors=True)


def remove_orphaned_folders(base: Path) -> list[Path]:
    """Remove the kernel folders below `base` of this user whose owner's process does not exist; return them."""
    orphans = [path for path in base.glob(f"{_PREFIX}*-*") if _is_ours(path) and _is_orphaned(path)]
    for path in orphans:
        remove_kernel_folder(path)
    return orphans


def _is_ours(path: Path) -> bool:
    """Return whether the path is a folder of this user; False when it has been removed meanwhile."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _is_orphaned(folder: Path) -> bool:
    pid = folder.name.removeprefix(_PREFIX).split("-")[0]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        with suppress(OSError):  # another process has removed it
            return not file_locks.is_locked(folder / _LOCK)
    except (ValueError, PermissionError):
        return False
    return False
