"""The states of runs and stages, and the only ways between them.

    run    pending ──> running ──> completed | failed | cancelled | crashed
    stage  pending ──> running ──> completed | failed | cancelled | crashed
                  └──> reused | skipped       failed ──> running (the next attempt)
    resume failed | cancelled | crashed ──> pending, the run's next attempt
           completed ──> pending, where a person names the stage to go back to

A terminal state is final for every owner a run has had. Only an explicit resume, which is no owner's, opens the next
attempt: the run is pending again under a new owner, and so its former ones still write nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from workbench.base.errors import IllegalTransition, ResumeRefused


class RunStatus(StrEnum):
    """States of a run."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CRASHED = "crashed"


ALIVE = (RunStatus.PENDING.value, RunStatus.RUNNING.value)


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


class PublicationStatus(StrEnum):
    """Whether readers see a completed run: not yet, now, or no more because a newer one is shown."""

    PENDING = "pending"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"


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


def check_resume_way(pipeline_id: str, present: RunStatus, *, stage_named: bool) -> None:
    """Raise `ResumeRefused` unless a run in state `present` may begin its next attempt."""
    if present not in TERMINAL:
        raise ResumeRefused(
            f"run {pipeline_id} is {present}: it has not ended; `workbench cancel` ends it, "
            "and if its process has died, that shows within seconds"
        )
    if present is RunStatus.COMPLETED and not stage_named:
        raise ResumeRefused(f"run {pipeline_id} is completed: name the stage to go back to with --from")
