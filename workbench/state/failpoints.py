"""Named places where a crash test may have the process of a run hit by a signal.

    WORKBENCH_FAILPOINT="stage_started/ingest:SIGKILL"      at the first passage of that place, for that stage
    WORKBENCH_FAILPOINT="run_claimed:SIGSTOP"               whatever the stage

Without the variable a place costs one look into a dictionary and does nothing. A signal is all that can be asked for:
whoever may set a process's environment may send it signals anyway.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "WORKBENCH_FAILPOINT"
FAILPOINTS = (
    "run_created",  # the run is pending, its lease never renewed
    "run_claimed",  # it is owned by the flow, still pending
    "run_started",  # it is running
    "stage_started",  # a stage is running, its kernel not started
    "cell_started",  # a cell is about to be sent to the kernel
    "notebook_executed",  # the kernel has ended well, nothing is verified
    "manifest_verified",  # the stage is proven, not recorded
    "stage_completed",  # the stage is recorded
    "run_completed",  # the run is completed, nothing committed
    "run_ended",  # the run's end is committed, its marts are not published and Prefect does not know
    "run_published",  # its marts are published, nothing committed
)


def reach(name: str, detail: str = "") -> None:
    """Pass the place `name` (of stage `detail`); a test may have asked for a signal here."""
    order = os.environ.get(VARIABLE)
    if order is None:
        return
    place, _, signal_name = order.rpartition(":")
    if place in (name, f"{name}/{detail}"):
        del os.environ[VARIABLE]
        os.kill(os.getpid(), signal.Signals[signal_name])
