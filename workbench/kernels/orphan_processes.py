"""Processes that a kernel's cells have started outside its process group: daemons, `start_new_session=True`.

The fork server becomes their parent when their own dies (Linux: child subreaper), so that they end with their kernel
at the latest. Their kernel is known by the environment that they have inherited.
"""

from __future__ import annotations

import os
from collections.abc import Collection

import psutil

from workbench.services.processes import adopt_orphans

OWNER_VARIABLE = "IPYTHONDIR"
__all__ = ["adopt_orphans", "kill_all", "kill_orphans"]


def kill_orphans(kernels: Collection[int], folders: Collection[str]) -> None:
    """Kill adopted processes whose kernel has ended; `kernels` and `folders` are those of the running kernels."""
    for orphan in psutil.Process().children():
        if orphan.pid not in kernels and not _belongs_to(orphan, folders):
            _kill_tree(orphan)
            _reap(orphan.pid)


def kill_all() -> None:
    """Kill and reap all descendants of this process, those adopted meanwhile included."""
    while children := psutil.Process().children():
        for child in children:
            _kill_tree(child)
            _reap(child.pid, os.WEXITED)


def _belongs_to(orphan: psutil.Process, folders: Collection[str]) -> bool:
    try:
        owner = orphan.environ().get(OWNER_VARIABLE, "")
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


def _reap(pid: int, how: int = os.WEXITED | os.WNOHANG) -> None:
    try:
        os.waitid(os.P_PID, pid, how)
    except ChildProcessError:
        return
