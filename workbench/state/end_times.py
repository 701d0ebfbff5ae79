"""When runs and stages end, and what ends with a run: stages still running then, whoever it was that ended it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, update

from workbench.state.events import Event, EventType, append
from workbench.state.models import Pipeline, PipelineStage
from workbench.state.states import RunStatus, StageStatus

# By the database's clock. One that was set back lets nothing end before it has started.
RUN_ENDS = func.greatest(Pipeline.started_at, func.clock_timestamp())
STAGE_ENDS = func.greatest(PipelineStage.started_at, func.clock_timestamp())


def end_running_stages(
    connection: Connection, pipeline_id: str, end: RunStatus, error: Mapping[str, Any], moment: Any = None
) -> None:
    """End the run's stages that run as the run ends, each with its event, inside the caller's transaction.

    `moment`: when the run ended, now by default; no stage ends before it has started.
    """
    finished_at = STAGE_ENDS if moment is None else func.greatest(PipelineStage.started_at, moment)
    running = (PipelineStage.pipeline_id == pipeline_id, PipelineStage.status == StageStatus.RUNNING.value)
    ended = (
        update(PipelineStage)
        .where(*running)
        .values(status=StageStatus(end.value).value, finished_at=finished_at, error=dict(error))
        .returning(PipelineStage.name)
    )
    names = sorted(connection.execute(ended).scalars())
    if names:
        data = {**error, "status": end.value}
        append(connection, pipeline_id, [Event(EventType.STAGE_FAILED, data, name) for name in names])
