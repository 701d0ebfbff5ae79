"""What happens inside a kernel's own process, and how its end is taken note of.

Runs as a script (plain kernels) and is called by the nursery after a fork (warm kernels). Imports nothing heavy.
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


class Farewell:
    """Ends a kernel that was shut down in good order without Python's teardown, which would take 0.3 s of each.

    Made before anything else is imported, so that all that was registered for the exit has run by then.
    """

    def __init__(self) -> None:
        self.is_due = False
        atexit.register(self._leave)

    def _leave(self) -> None:
        if self.is_due:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def become_kernel(connection_file: str, owner: int, farewell: Farewell) -> None:
    """Serve as an IPython kernel on this connection file until it is shut down or process `owner` dies."""
    die_with(owner)
    sys.path.insert(0, _ENGINE)
    from workbench.base.environment import put_project_on_path
    from workbench.kernels import kernel_app

    sys.path.remove(_ENGINE)
    put_project_on_path()
    kernel_app.serve(connection_file, owner, crash_log=os.dup(2))
    farewell.is_due = True


def die_with(owner: int) -> None:
    """Have the system kill this process when its parent ends; leave at once if that has already happened."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        os._exit(1)


def reap_group(leader: int) -> tuple[int, int] | None:
    """Return (exit code or minus signal, peak memory in bytes) if the child `leader` has ended, else None.

    What is left of its process group is killed first: as long as the leader is not waited for, its id is not reused.
    """
    if os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return None
    kill_group(leader)
    _, status, usage = os.wait4(leader, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * _MAXRSS_UNIT


def own_peak_bytes() -> int:
    """Return the largest memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def peak_bytes_of(pid: int) -> int | None:
    """Return the largest memory a living process has had so far, None where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def kill_group(leader: int) -> None:
    """Kill every process of the group, stopped ones too; a group that is gone is fine."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    become_kernel(sys.argv[1], int(sys.argv[2]), Farewell())
