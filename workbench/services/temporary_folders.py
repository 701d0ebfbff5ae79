"""Temporary folders of an embedded service outside its home, found again by the next supervisor of the same home."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def kept_temporary_folder(base: Path, prefix: str, user: int | None = None) -> Path:
    """Return the folder in `base` that an earlier supervisor has left, else a new private one.

    `prefix` must hold the home's id. A folder is ours when its owner is this user or `user`, the owner after `give`.
    """
    found = [path for path in base.glob(f"{prefix}*") if _is_ours(path, user)]
    return found[0] if found else Path(tempfile.mkdtemp(prefix=prefix, dir=base))


def _is_ours(path: Path, user: int | None) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid in (os.geteuid(), user)
