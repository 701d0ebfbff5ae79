"""How a long-lived process tells whoever started it that it is ready: by a file named in its environment."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "WORKBENCH_READY_FILE"


def tell_ready() -> None:
    """Say once that this process is ready; without the variable nobody asked."""
    path = os.environ.pop(VARIABLE, None)
    if path is not None:
        Path(path).write_text(str(os.getpid()), "ascii")


def is_ready(path: Path, pid: int) -> bool:
    """Tell whether the process has said so."""
    try:
        return path.read_text("ascii") == str(pid)
    except FileNotFoundError:
        return False
