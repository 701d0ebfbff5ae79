"""The states of runs and stages, and the only ways between them.

    run    pending ──> running ──> completed | failed | cancelled | crashed
    stage  pending ──> running ──> completed | failed | cancelled | crashed
                  └──> reused | skipped       failed ──> running (the next attempt)

A terminal state of a run is final. Only an explicit resume opens a new attempt: from failed, cancelled or crashed
(or from completed, where a person names the stage to go back to) to running again, under a new owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pipeline_lib.errors import IllegalTransition


class RunStatus(StrEnum):
    """States of a run."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CRASHED = "crashed"


class StageStatus(StrEnum):
    """States of a stage within its run."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CRASHED = "crashed"
    REUSED = "reused"
    SKIPPED = "skipped"


TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.CRASHED})
STAGE_DONE = frozenset({StageStatus.COMPLETED, StageStatus.REUSED, StageStatus.SKIPPED})

_ENDS = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.CRASHED})
RUN_WAYS: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING}) | (_ENDS - {RunStatus.COMPLETED}),
    RunStatus.RUNNING: _ENDS,
}


def check_run_way(pipeline_id: str, present: RunStatus, target: RunStatus) -> None:
    """Raise `IllegalTransition` unless a run in state `present` may go to `target`."""
    if target not in RUN_WAYS.get(present, frozenset()):
        raise IllegalTransition(f"run {pipeline_id} is {present}; it cannot become {target}")
