"""Records a stage that a person steps through: begun, finished, failed or left. Each is one transaction.

The number of the attempt is the right to write about it: who has opened the stage since, in another kernel, has the
next one. A completed run takes no work by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, extract, func, select, update

from workbench.base.errors import IllegalTransition, LeaseLost
from workbench.stage.artefacts import Manifest
from workbench.stage.pipeline import STAGE_NAMES, StageName
from workbench.state.counts import NEXT_ATTEMPT, result_of, sum_up_counts
from workbench.state.end_times import STAGE_ENDS
from workbench.state.events import Event, EventType, append
from workbench.state.models import Pipeline, PipelineStage
from workbench.state.next_attempt import forget_stages
from workbench.state.runs import OwnedRun
from workbench.state.states import RunStatus, StageStatus

_NEXT_NUMBER = func.nextval(func.pg_get_serial_sequence("pipelines", "number"))
_AT_WORK = (StageStatus.RUNNING.value, StageStatus.FAILED.value)


def begin_stage(run: OwnedRun, stage: StageName) -> int:
    """Open the next attempt of a stage and give up the results of all later ones; returns its number.

    Raises `IllegalTransition` when the run is completed, `LeaseLost` when a process works it.
    """

    def change(connection: Connection) -> None:
        _check_takes_work(connection, run.pipeline_id)
        _set_stage(connection, run, stage, status=StageStatus.RUNNING.value, interactive=True, reason=None)
        _set_stage(connection, run, stage, **NEXT_ATTEMPT)
        append(
            connection, run.pipeline_id, forget_stages(connection, run.pipeline_id, _given_up(connection, run, stage))
        )
        sum_up_counts(connection, run.pipeline_id)

    run.write([Event(EventType.STAGE_STARTED, {"interactive": True}, stage)], change)
    return run.attempt_of(stage)


def finish_stage(run: OwnedRun, attempt: int, manifest: Manifest, announcement: Event | None) -> None:
    """Record a verified result, the parameters it was made with, and the seconds from the stage's opening until now.

    Raises `LeaseLost` when the stage has been opened again elsewhere, or the run is worked by a process.
    """
    stage = manifest.stage

    def change(connection: Connection) -> None:
        _check_takes_work(connection, run.pipeline_id)
        if not is_at_work(connection, run.pipeline_id, stage, attempt):
            raise LeaseLost(f"stage {stage} of run {run.pipeline_id} was opened again elsewhere: run that cell again")
        _count_work(connection, run, stage)
        done = {"status": StageStatus.COMPLETED.value, "finished_at": STAGE_ENDS, "error": None}
        _set_stage(connection, run, stage, **done, **result_of(manifest), hand_number=_NEXT_NUMBER)
        _set_run(connection, run, parameters=Pipeline.parameters.op("||")(manifest.parameters))
        sum_up_counts(connection, run.pipeline_id)

    completed = Event(EventType.STAGE_COMPLETED, {"counts": manifest.counts}, stage)
    run.write([completed, *([announcement] if announcement else [])], change)


def end_stage(
    run: OwnedRun, stage: StageName, attempt: int, error: Mapping[str, Any], counts: Mapping[str, int]
) -> None:
    """Record that a cell raised, or that the stage was left (`error["status"]`); nothing for another's attempt."""
    status = StageStatus(error["status"])
    with run.engine.begin() as connection:
        if not is_at_work(connection, run.pipeline_id, stage, attempt):
            return
    told = {name: value for name, value in error.items() if name != "status"}

    def change(connection: Connection) -> None:
        if status is StageStatus.CANCELLED:
            _count_work(connection, run, stage)
        ended = {"status": status.value, "finished_at": STAGE_ENDS, "error": told, "counts": dict(counts)}
        _set_stage(connection, run, stage, **ended)
        sum_up_counts(connection, run.pipeline_id)

    run.write([Event(EventType.STAGE_FAILED, dict(error), stage)], change)


def leave_failed_stage(run: OwnedRun, stage: StageName, attempt: int) -> None:
    """Count the work on a stage that a cell failed and that is left: it stays failed, with its error."""
    with run.engine.begin() as connection:
        if is_at_work(connection, run.pipeline_id, stage, attempt):
            _count_work(connection, run, stage)


def is_at_work(connection: Connection, pipeline_id: str, stage: StageName, attempt: int) -> bool:
    """Tell whether this attempt is the stage's latest and has neither been finished nor left."""
    where = (PipelineStage.pipeline_id == pipeline_id, PipelineStage.name == stage)
    row = connection.execute(select(PipelineStage.attempt, PipelineStage.status).where(*where)).one()
    return row.attempt == attempt and row.status in _AT_WORK


def _check_takes_work(connection: Connection, pipeline_id: str) -> None:
    status = connection.execute(select(Pipeline.status).where(Pipeline.id == pipeline_id)).scalar_one()
    if status == RunStatus.COMPLETED:
        raise IllegalTransition(
            f"run {pipeline_id} is completed and stays as it is; run the cell that opens the stage again: "
            "it then works on a copy"
        )


def _given_up(connection: Connection, run: OwnedRun, stage: StageName) -> dict[StageName, str]:
    """Return why each later stage that was reached loses its result."""
    position = STAGE_NAMES.index(stage) + 1
    query = select(PipelineStage.name).where(
        PipelineStage.pipeline_id == run.pipeline_id,
        PipelineStage.position > position,
        PipelineStage.status != StageStatus.PENDING.value,
    )
    return dict.fromkeys(connection.execute(query).scalars(), f"given up: {stage} was opened by hand")


def _count_work(connection: Connection, run: OwnedRun, stage: StageName) -> None:
    """Add the time since the stage was opened to the run's seconds of work."""
    where = (PipelineStage.pipeline_id == run.pipeline_id, PipelineStage.name == stage)
    opened = select(PipelineStage.started_at).where(*where).scalar_subquery()
    seconds = func.greatest(0, extract("epoch", func.clock_timestamp() - opened))  # 0: the clock was set back
    _set_run(connection, run, seconds_before=Pipeline.seconds_before + seconds)


def _set_stage(connection: Connection, run: OwnedRun, stage: StageName, **values: Any) -> None:
    where = (PipelineStage.pipeline_id == run.pipeline_id, PipelineStage.name == stage)
    connection.execute(update(PipelineStage).where(*where).values(**values))


def _set_run(connection: Connection, run: OwnedRun, **values: Any) -> None:
    connection.execute(update(Pipeline).where(Pipeline.id == run.pipeline_id).values(**values))
