"""What happens in a run, as events: written first to `pipeline_events`, then relayed as CloudEvents 1.0."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cloudevents.core.v1.event import CloudEvent
from sqlalchemy import Connection, func, insert, select, update

from workbench.stage.pipeline import StageName
from workbench.state.models import Pipeline, PipelineEvent

CHANNEL = "pipeline_events"


class EventType(StrEnum):
    """Every type there is; also the routing key on the exchange."""

    RUN_STARTED = "run.started"
    RUN_COMPLETED = "run.completed"
    RUN_PUBLISHED = "run.published"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    RUN_CRASHED = "run.crashed"
    STAGE_STARTED = "stage.started"
    STAGE_COMPLETED = "stage.completed"
    STAGE_FAILED = "stage.failed"
    STAGE_RETRYING = "stage.retrying"
    STAGE_REUSED = "stage.reused"
    STAGE_SKIPPED = "stage.skipped"
    DATASET_INGESTED = "dataset.ingested"
    DATASET_EXPORTED = "dataset.exported"
    CELL_STARTED = "cell.started"
    CELL_COMPLETED = "cell.completed"
    CELL_FAILED = "cell.failed"


@dataclass(frozen=True)
class Event:
    """One event before it has a sequence number. The id is fixed here, so that a repeated write is seen as such."""

    type: EventType
    data: Mapping[str, Any] = field(default_factory=dict)
    stage: StageName | None = None
    id: uuid.UUID = field(default_factory=uuid.uuid4)


def append(connection: Connection, pipeline_id: str, events: Sequence[Event]) -> None:
    """Write events with the run's next sequence numbers, inside the caller's transaction.

    The update locks the run's row until commit: numbers are given without gap and committed in their order.
    """
    if not events:
        return
    last = connection.execute(
        update(Pipeline)
        .where(Pipeline.id == pipeline_id)
        .values(event_sequence=Pipeline.event_sequence + len(events))
        .returning(Pipeline.event_sequence)
    ).scalar_one()
    first = last - len(events) + 1
    rows = [_row(pipeline_id, first + offset, event) for offset, event in enumerate(events)]
    connection.execute(insert(PipelineEvent), rows)
    connection.execute(select(func.pg_notify(CHANNEL, f"{pipeline_id} {last}")))


def is_written(connection: Connection, event: Event) -> bool:
    """Tell whether an earlier try at this write was committed although its answer never came."""
    return connection.execute(select(PipelineEvent.id).where(PipelineEvent.id == event.id)).first() is not None


def cloud_event(row: PipelineEvent) -> CloudEvent:
    """Return a row of the event log as a CloudEvent: source = the run, subject = its stage, sequence per run."""
    attributes: dict[str, Any] = {
        "id": str(row.id),
        "type": row.type,
        "source": f"/pipelines/{row.pipeline_id}",
        "time": row.created_at,
        "datacontenttype": "application/json",
        "pipelineid": row.pipeline_id,
        "sequence": str(row.sequence),
    }
    if row.stage:
        attributes["subject"] = row.stage
    return CloudEvent(attributes, {"pipeline_id": row.pipeline_id, "stage": row.stage, **row.data})


def event_document(row: PipelineEvent) -> dict[str, Any]:
    """Return a row of the event log as JSON for the terminal and the API."""
    return {
        "id": str(row.id),
        "pipeline_id": row.pipeline_id,
        "sequence": row.sequence,
        "type": row.type,
        "stage": row.stage,
        "time": row.created_at.isoformat(),
        "data": row.data,
    }


def _row(pipeline_id: str, sequence: int, event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "pipeline_id": pipeline_id,
        "sequence": sequence,
        "type": event.type.value,
        "stage": event.stage if event.stage else None,
        "data": dict(event.data),
    }
