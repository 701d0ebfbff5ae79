"""Folders of kernels: one for each, below the temporary folder, locked by its owner and removed with it.

A folder is removed only when it is ours by name, user and kind, and when neither its lock nor its owner's process says
that somebody still needs it: containers that share a temporary folder do not see each other's processes.
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
    """A new private folder (0700) for one kernel, removed at the end, together with those of owners long dead."""
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
    """Remove one of our kernels' folders, with what is in it; anything else stays as it is."""
    if folder.name.startswith(_PREFIX) and _is_ours(folder):
        shutil.rmtree(folder, ignore_errors=True)


def remove_orphaned_folders(base: Path) -> list[Path]:
    """Remove the kernel folders below `base` that belong to this user and whose process is gone; return them."""
    orphans = [path for path in base.glob(f"{_PREFIX}*-*") if _is_ours(path) and _ownerless(path)]
    for path in orphans:
        remove_kernel_folder(path)
    return orphans


def _is_ours(path: Path) -> bool:
    """Tell whether it is a folder of this user; what others leave there, or remove meanwhile, is none."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _ownerless(folder: Path) -> bool:
    pid = folder.name.removeprefix(_PREFIX).split("-")[0]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        with suppress(OSError):  # somebody else has removed it
            return not file_locks.is_locked(folder / _LOCK)
    except (ValueError, PermissionError):
        return False
    return False
