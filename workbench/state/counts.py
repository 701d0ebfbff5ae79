"""The rows of stages as attempts leave them, and what a run counts: the counts of its stages as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select, update

from workbench.stage.artefacts import Manifest
from workbench.stage.pipeline import STAGE_NAMES, StageName
from workbench.state.models import Pipeline, PipelineStage
from workbench.state.states import StageStatus

# What a stage's row says when an attempt begins: nothing of what the attempt before has left.
NEXT_ATTEMPT: Mapping[str, Any] = {
    "attempt": PipelineStage.attempt + 1,
    "started_at": func.clock_timestamp(),
    "finished_at": None,
    "error": None,
    "manifest": None,
    "counts": {},
    "progress": {},
}


def pending_stage(pipeline_id: str, stage: StageName) -> dict[str, Any]:
    """Return the row of a stage that nobody has begun."""
    position = STAGE_NAMES.index(stage) + 1
    return {"pipeline_id": pipeline_id, "name": stage, "position": position, "status": StageStatus.PENDING.value}


def result_of(manifest: Manifest) -> dict[str, Any]:
    """Return what a stage's row says of a verified result."""
    return {"manifest": manifest.model_dump(mode="json"), "counts": manifest.counts}


def sum_up_counts(connection: Connection, pipeline_id: str) -> None:
    """Let the run count what its stages count now, and nothing that an earlier attempt had counted."""
    query = select(PipelineStage.counts).where(PipelineStage.pipeline_id == pipeline_id)
    counts: dict[str, Any] = {}
    rows: list[dict[str, Any]] = list(connection.execute(query.order_by(PipelineStage.position)).scalars())
    for each in rows:
        counts |= each
    connection.execute(update(Pipeline).where(Pipeline.id == pipeline_id).values(counts=counts))
