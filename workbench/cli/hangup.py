"""A closed terminal ends the command in it as SIGTERM does: cleanly, a run as cancelled.

With SIGHUP ignored (`nohup`) the command continues.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

_OUTPUTS = (1, 2)


def end_when_terminal_closes() -> None:
    """Turn the first SIGHUP into a SIGTERM; ignore later ones, which shell and kernel send as well."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        return
    terminals = [output for output in _OUTPUTS if os.isatty(output)]
    ending = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        _discard_output(terminals)
        if not ending.is_set():
            ending.set()
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGHUP, handle)


def _discard_output(terminals: list[int]) -> None:
    """Discard further output to closed terminals: writing there fails, and would hide the command's own end."""
    for output in terminals:
        if not os.isatty(output):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, output)
            os.close(null)
