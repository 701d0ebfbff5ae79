"""How a long-lived process reports to its parent that it is ready: by a file named in its environment."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "WORKBENCH_READY_FILE"


def report_ready() -> None:
    """Report once that this process is ready; without the variable, do nothing."""
    path = os.environ.pop(VARIABLE, None)
    if path is not None:
        Path(path).write_text(str(os.getpid()), "ascii")


def is_ready(path: Path, pid: int) -> bool:
    """Return whether the process has reported that it is ready."""
    try:
        return path.read_text("ascii") == str(pid)
    except FileNotFoundError:
        return False
