"""Runs a module as a program that gets a signal when its parent dies, however that dies.

python -m workbench.services.parent_death PARENT SIGNAL MODULE [ARGUMENT …]
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Sequence

from workbench.services import processes


def command(parent: int, module: str, *arguments: str, with_signal: signal.Signals = signal.SIGTERM) -> list[str]:
    """Return the command line by which process `parent` starts the module."""
    return [sys.executable, "-m", __spec__.name, str(parent), with_signal.name, module, *arguments]


def main(parent: int, with_signal: signal.Signals, program: Sequence[str]) -> None:
    """Run the program: a module's name and its arguments. SIGHUP is ignored: its parent handles a closed terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    processes.end_with_parent(parent, with_signal)
    sys.argv = list(program)
    runpy.run_module(program[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), signal.Signals[sys.argv[2]], sys.argv[3:])
