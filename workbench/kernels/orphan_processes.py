"""Processes that a kernel's cells have started and that left its process group: daemons, `start_new_session=True`.

The nursery adopts them when their parents die (Linux: child subreaper), so that they end with their kernel at the
latest. Whose they are is told by the environment they have inherited.
"""

from __future__ import annotations

import os
from collections.abc import Collection

import psutil

from workbench.services.processes import adopt_orphans

OWNER_VARIABLE = "IPYTHONDIR"
__all__ = ["adopt_orphans", "end_all", "end_strays"]


def end_strays(kernels: Collection[int], folders: Collection[str]) -> None:
    """Kill adopted processes whose kernel lives no more; `kernels` and `folders` are those of the living ones."""
    for stray in psutil.Process().children():
        if stray.pid not in kernels and not _belongs_to(stray, folders):
            _kill_tree(stray)
            _collect(stray.pid)


def end_all() -> None:
    """Kill and collect all that descends from this process, adopted while doing so included."""
    while children := psutil.Process().children():
        for child in children:
            _kill_tree(child)
            _collect(child.pid, os.WEXITED)


def _belongs_to(stray: psutil.Process, folders: Collection[str]) -> bool:
    try:
        owner = stray.environ().get(OWNER_VARIABLE, "")
    except psutil.Error:
        return False
    return any(owner.startswith(f"{folder}{os.sep}") for folder in folders)


def _kill_tree(root: psutil.Process) -> None:
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _collect(pid: int, how: int = os.WEXITED | os.WNOHANG) -> None:
    try:
        os.waitid(os.P_PID, pid, how)
    except ChildProcessError:
        return
