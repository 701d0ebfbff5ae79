"""Opens the next attempt of a run that has ended: the only way out of a terminal state."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, extract, func, select, update

from workbench.base.errors import ResumeRefused, UnknownRun
from workbench.stage.pipeline import PIPELINE, STAGE_NAMES, StageName
from workbench.stage.pipeline import Pipeline as Chain
from workbench.state.counts import sum_up_counts
from workbench.state.crash_detection import reap
from workbench.state.database import patient
from workbench.state.events import Event, EventType, append
from workbench.state.models import Pipeline, PipelineStage
from workbench.state.publication_queue import withdraw_publication
from workbench.state.runs import OwnedRun
from workbench.state.states import STAGE_DONE, RunStatus, StageStatus, check_resume_way

_UNDONE: Mapping[str, Any] = {
    "status": StageStatus.PENDING.value,
    "manifest": None,
    "error": None,
    "counts": {},
    "progress": {},
    "started_at": None,
    "finished_at": None,
}
_LASTED = extract("epoch", Pipeline.finished_at - Pipeline.started_at)
_ENDS = {"failed": "failed", "cancelled": "been cancelled", "crashed": "crashed", "running": "not ended"}


def check_resumable(engine: Engine, pipeline_id: str, from_stage: StageName | None) -> None:
    """Raise `UnknownRun` or `ResumeRefused` when `reopen_run` would; changes nothing but runs whose owner has died."""
    reap(engine)
    with engine.connect() as connection:
        _check(connection, pipeline_id, from_stage)


def reopen_run(engine: Engine, pipeline_id: str, lease_seconds: int, from_stage: StageName | None = None) -> OwnedRun:
    """Set an ended run pending again, owned by the caller for `lease_seconds`, and return its new owner's rights.

    Stages that did not complete, and those from `from_stage` on, lose their result and say why; whether the others'
    results still hold is proven by whoever works the run. Raises `UnknownRun` and `ResumeRefused`.
    """
    reap(engine)
    return _reopened(OwnedRun(engine, pipeline_id, uuid.uuid4(), lease_seconds), from_stage)


@patient
def _reopened(run: OwnedRun, from_stage: StageName | None) -> OwnedRun:
    with run.engine.begin() as connection:
        owner, attempt = _owner_and_attempt(connection, run.pipeline_id)
        if owner != run.owner:  # equal: an earlier try was committed although its answer never came
            _check(connection, run.pipeline_id, from_stage)
            attempt += 1
            _reopen(connection, run, attempt)
            append(connection, run.pipeline_id, _forget_results(connection, run.pipeline_id, from_stage))
            sum_up_counts(connection, run.pipeline_id)
    return OwnedRun(run.engine, run.pipeline_id, run.owner, run.lease_seconds, attempt)


def _owner_and_attempt(connection: Connection, pipeline_id: str) -> tuple[uuid.UUID | None, int]:
    query = select(Pipeline.lease_owner, Pipeline.attempt).where(Pipeline.id == pipeline_id).with_for_update()
    row = connection.execute(query).first()
    return (row.lease_owner, row.attempt) if row else (None, 0)


def _check(connection: Connection, pipeline_id: str, from_stage: StageName | None) -> None:
    present = connection.execute(select(Pipeline.status, Pipeline.chain).where(Pipeline.id == pipeline_id)).first()
    if present is None:
        raise UnknownRun(f"run {pipeline_id!r}: unknown; `workbench runs` lists them")
    check_resume_way(pipeline_id, RunStatus(present.status), stage_named=from_stage is not None)
    check_same_stages(pipeline_id, present.chain)


def check_same_stages(pipeline_id: str, chain: Mapping[str, Any]) -> None:
    """Raise `ResumeRefused` when the run was begun with other stages than the project has now."""
    if difference := Chain.of_snapshot(chain).difference_to(PIPELINE):
        raise ResumeRefused(f"run {pipeline_id} cannot go on: {difference}; start a new run")


def _reopen(connection: Connection, run: OwnedRun, attempt: int) -> None:
    values: dict[str, Any] = {
        "status": RunStatus.PENDING.value,
        "attempt": attempt,
        "chain": PIPELINE.snapshot,
        "prefect_flow_run_id": None,
        "lease_owner": run.owner,
        "lease_expires_at": run.lease_end(),
        "lease_seconds": run.lease_seconds,
        "started_at": None,
        "finished_at": None,
        "seconds_before": Pipeline.seconds_before + func.coalesce(_LASTED, 0),
        "cancel_requested_at": None,
        "error": None,
        "output_file": None,
    }
    connection.execute(update(Pipeline).where(Pipeline.id == run.pipeline_id).values(**values))
    withdraw_publication(connection, run.pipeline_id)


def _forget_results(connection: Connection, pipeline_id: str, from_stage: StageName | None) -> list[Event]:
    """Set back the stages whose results do not count any more; returns the events that tell of it."""
    reasons = {row["name"]: _reason_to_redo(row, from_stage) for row in _stages(connection, pipeline_id)}
    return forget_stages(connection, pipeline_id, {stage: reason for stage, reason in reasons.items() if reason})


def _stages(connection: Connection, pipeline_id: str) -> list[RowMapping]:
    table = PipelineStage.__table__
    query = select(table).where(table.c.pipeline_id == pipeline_id).order_by(table.c.position)
    return list(connection.execute(query).mappings())


def _reason_to_redo(row: RowMapping, from_stage: StageName | None) -> str | None:
    """Say why the stage's result does not count any more, None when it may be proven and reused."""
    if row["status"] == StageStatus.SKIPPED.value:
        return None
    if from_stage is not None and row["position"] >= (first := STAGE_NAMES.index(from_stage) + 1):
        return "redone: asked for" if row["position"] == first else f"redone: after {from_stage}"
    if row["status"] in STAGE_DONE:
        return None
    return f"redone: it had {_ENDS[row['status']]}" if row["status"] in _ENDS else "not reached before"


def redo_stages(run: OwnedRun, reasons: Mapping[StageName, str]) -> None:
    """Forget the results of these stages; raises `LeaseLost`."""

    def change(connection: Connection) -> None:
        append(connection, run.pipeline_id, forget_stages(connection, run.pipeline_id, reasons))
        sum_up_counts(connection, run.pipeline_id)

    run.write([], change)


def explain_stage(run: OwnedRun, stage: StageName, reason: str) -> None:
    """Say in the ledger why a stage runs; raises `LeaseLost`."""
    where = (PipelineStage.pipeline_id == run.pipeline_id, PipelineStage.name == stage)
    run.write([], lambda connection: connection.execute(update(PipelineStage).where(*where).values(reason=reason)))


def forget_stages(connection: Connection, pipeline_id: str, reasons: Mapping[StageName, str]) -> list[Event]:
    """Set stages back to pending; returns an event for each that was not. Repeated, it changes and tells nothing."""
    had_ended = {row["name"] for row in _stages(connection, pipeline_id) if row["status"] != StageStatus.PENDING.value}
    for stage, reason in reasons.items():
        where = (PipelineStage.pipeline_id == pipeline_id, PipelineStage.name == stage)
        connection.execute(update(PipelineStage).where(*where).values(**_UNDONE, reason=reason))
    return [
        Event(EventType.STAGE_RETRYING, {"status": StageStatus.PENDING.value, "reason": reason}, stage)
        for stage, reason in reasons.items()
        if stage in had_ended
    ]
