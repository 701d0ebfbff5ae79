"""Ctrl-C and SIGTERM cancel a run: cleanly; the second kills its kernel, the third interrupts this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from workbench.state.lease import Watch

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def cancelled_by_signals(watch: Watch) -> Iterator[None]:
    """Set the watch's `stop` on the first signal of the block, its `kill` on the second; main thread only.

    Blocks may be nested with the same watch: Prefect installs a handler in between that reports a SIGTERM as a crash.
    A third signal raises KeyboardInterrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _handler(watch)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handler(watch: Watch) -> Any:
    def handle(_number: int, _frame: FrameType | None) -> None:
        if watch.kill.is_set():
            raise KeyboardInterrupt
        asked = watch.kill if watch.stop.is_set() else watch.stop
        # In a thread of its own: the interrupted code may hold the event's lock.
        threading.Thread(target=asked.set).start()

    return handle
