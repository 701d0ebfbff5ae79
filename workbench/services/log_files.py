"""Logs that programs write through their standard output and error: appended to, and kept small while they live."""

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
    """Move what a log of more than `LOG_BYTES` holds to `<name>.1`, in place of what was there.

    Its writers go on at the beginning of the file, for they append (as logrotate's copytruncate has it). Without room
    for the copy it is only emptied. Whoever starts programs calls this as long as they live.
    """
    if not path.exists() or path.stat().st_size <= LOG_BYTES:
        return
    try:
        shutil.copy(path, path.with_name(f"{path.name}.1"))
    except OSError as error:
        print(f"{path}: emptied without a copy: {error.strerror}", flush=True)
    os.truncate(path, 0)
