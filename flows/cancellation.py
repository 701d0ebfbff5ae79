"""Ctrl-C and SIGTERM ask the run to end: cleanly the first time, at once the second."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def cancelled_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on the first signal of the block; the second one raises KeyboardInterrupt. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handler(stop)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handler(stop: threading.Event) -> Any:
    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        # In a thread of its own: the interrupted code may hold the event's lock.
        threading.Thread(target=stop.set).start()

    return handle
