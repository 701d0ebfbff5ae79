"""Commands in a terminal of their own, which a test can close as a person closes its window."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import termios
import threading


class Terminal:
    """A terminal for one command. `attach` is called in the command's process before it begins."""

    def __init__(self) -> None:
        self._ours, self._theirs = os.openpty()
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def attach(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests themselves were started with
        self._attach()

    def attach_without_hangup(self) -> None:
        """As `nohup` does, or a shell's `trap '' HUP`."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._attach()

    def _attach(self) -> None:
        fcntl.ioctl(self._theirs, termios.TIOCSCTTY, 0)
        for output in (1, 2):
            os.dup2(self._theirs, output)

    def close(self) -> None:
        """Close the window: the system sends SIGHUP, and nothing can be written any more."""
        self._closing.set()
        self._reader.join()  # a read under way would keep the terminal open
        os.close(self._theirs)
        os.close(self._ours)

    def _read(self) -> None:
        while not self._closing.is_set():
            if select.select([self._ours], [], [], 0.05)[0]:
                os.read(self._ours, 65536)
