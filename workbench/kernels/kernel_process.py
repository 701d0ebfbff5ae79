"""What happens inside a kernel's own process, and how its end is observed.

Runs as a script (plain kernels) and is called by the fork server after a fork (warm kernels). Imports nothing heavy.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import resource
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
_ENGINE = str(Path(__file__).resolve().parent.parent.parent)


class ShutdownMarker:
    """Marks an orderly shutdown, after which the process exits without Python's teardown: 0.3 s for each kernel.

    Created before any other import: exit handlers run in reverse order, so its own is the last.
    """

    def __init__(self) -> None:
        self.is_orderly = False
        atexit.register(self._exit)

    def _exit(self) -> None:
        if self.is_orderly:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def become_kernel(connection_file: str, owner: int, marker: ShutdownMarker) -> None:
    """Serve as an IPython kernel on this connection file until it is shut down or process `owner` dies."""
    exit_with(owner)
    sys.path.insert(0, _ENGINE)
    from workbench.base.environment import put_project_on_path
    from workbench.kernels import kernel_app

    sys.path.remove(_ENGINE)
    put_project_on_path()
    kernel_app.serve(connection_file, owner, crash_log=os.dup(2))
    marker.is_orderly = True


def exit_with(owner: int) -> None:
    """Have the system kill this process when its parent ends; exit at once if it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        os._exit(1)


def reap_group(leader: int) -> tuple[int, int] | None:
    """Return (exit code or minus signal, peak memory in bytes) if the child `leader` has ended, else None.

    The rest of its process group is killed first: the group's id is not reused before the leader is waited for.
    """
    if os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return None
    kill_group(leader)
    _, status, usage = os.wait4(leader, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * _MAXRSS_UNIT


def own_peak_bytes() -> int:
    """Return the peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def peak_bytes_of(pid: int) -> int | None:
    """Return the peak memory of a living process so far, None where the system has no /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def kill_group(leader: int) -> None:
    """Kill every process of the group, stopped ones too; do nothing when the group has ended."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    become_kernel(sys.argv[1], int(sys.argv[2]), ShutdownMarker())
