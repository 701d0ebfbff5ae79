"""A terminal that is closed ends the command in it as SIGTERM does: cleanly, a run as cancelled.

Whoever has SIGHUP ignored (`nohup`) lets the command go on.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

_OUTPUTS = (1, 2)


def end_when_terminal_closes() -> None:
    """Turn the first SIGHUP into a SIGTERM; later ones, which shell and kernel send as well, say nothing new."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        return
    terminals = [output for output in _OUTPUTS if os.isatty(output)]
    ending = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        _leave_closed(terminals)
        if not ending.is_set():
            ending.set()
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGHUP, handle)


def _leave_closed(terminals: list[int]) -> None:
    """Send what is still written to a closed terminal nowhere: it would fail, and that would be told instead."""
    for output in terminals:
        if not os.isatty(output):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, output)
            os.close(nowhere)
