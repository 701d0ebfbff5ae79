"""Runs a module as a program that is asked to end (SIGTERM) when its parent dies, however that dies.

python -m pipeline_lib.services.tethered PARENT MODULE [ARGUMENT …]
"""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Sequence

from pipeline_lib.services import processes


def command(parent: int, module: str, *arguments: str) -> list[str]:
    """Return the command line by which process `parent` starts the module."""
    return [sys.executable, "-m", __spec__.name, str(parent), module, *arguments]


def main(parent: int, program: Sequence[str]) -> None:
    """Become the program: a module's name and its arguments."""
    processes.end_with_parent(parent, signal.SIGTERM)
    sys.argv = list(program)
    runpy.run_module(program[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
