"""Logs of the programs' standard output and error: appended to, and kept small while the programs run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

from workbench.base.durable_files import private_folder

LOG_BYTES = 10 * (1 << 20)


def open_log(path: Path) -> BinaryIO:
    """Open a log for a program to append to."""
    private_folder(path.parent)
    keep_small(path)
    return path.open("ab")


def keep_small(path: Path) -> None:
    """Move the content of a log of more than `LOG_BYTES` to `<name>.1`, which is replaced.

    Its writers continue at the beginning of the file, because they append (as with logrotate's copytruncate). Without
    space for the copy it is only emptied. The process that starts programs calls this while they run.
    """
    if not path.exists() or path.stat().st_size <= LOG_BYTES:
        return
    try:
        shutil.copy(path, path.with_name(f"{path.name}.1"))
    except OSError as error:
        print(f"{path}: emptied without a copy: {error.strerror}", flush=True)
    os.truncate(path, 0)
