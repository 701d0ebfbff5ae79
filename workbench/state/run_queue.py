"""Runs that wait for somebody to work them: recorded by the page, claimed by a worker.

A waiting run has a lease as every other. Workers renew it while Prefect still has the run in its queue; once none
does so (no worker lives, or one has taken the run and died over it) it ends within `WAITING_SECONDS`, as crashed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.events import Event, EventType, append
from workbench.state.models import Pipeline
from workbench.state.runs import Origin, OwnedRun, create_run
from workbench.state.states import RunStatus

WAITING_SECONDS = 180
_NOW = func.clock_timestamp()
_CANCELLED = {"name": "RunCancelled", "message": "cancelled before it began"}


def request_run(engine: Engine, parameters: RunParameters, origin: Origin) -> OwnedRun | None:
    """Record a run for somebody else to work; None when another request with the same key was faster."""
    try:
        return create_run(engine, parameters, origin, WAITING_SECONDS)
    except IntegrityError:
        if queries.run_of_key(engine, origin.idempotency_key) is None:
            raise
        return None


def note_flow_run(engine: Engine, pipeline_id: str, flow_run_id: str) -> None:
    """Record under which name Prefect has the waiting run; whoever works it already has done so."""
    where = (Pipeline.id == pipeline_id, Pipeline.prefect_flow_run_id.is_(None))
    with engine.begin() as connection:
        connection.execute(update(Pipeline).where(*where).values(prefect_flow_run_id=flow_run_id))


def keep_waiting(engine: Engine, pipeline_ids: Collection[str]) -> None:
    """Renew the leases of these runs, as far as they still wait."""
    lease_end = _NOW + timedelta(seconds=WAITING_SECONDS)
    where = (
        Pipeline.id.in_(pipeline_ids),
        Pipeline.status == RunStatus.PENDING.value,
        Pipeline.lease_owner.is_not(None),
    )
    with engine.begin() as connection:
        connection.execute(update(Pipeline).where(*where).values(lease_expires_at=lease_end))


def end_waiting(engine: Engine, pipeline_id: str, status: RunStatus, error: Mapping[str, Any]) -> bool:
    """End a run that nobody works yet as cancelled or crashed; False when it waits no more."""
    ending = {"lease_owner": None, "lease_expires_at": None, "finished_at": _NOW, "error": dict(error)}
    waits = (Pipeline.id == pipeline_id, Pipeline.status == RunStatus.PENDING.value, Pipeline.lease_owner.is_not(None))
    with engine.begin() as connection:
        ended = connection.execute(update(Pipeline).where(*waits).values(status=status.value, **ending)).rowcount == 1
        if ended:
            append(connection, pipeline_id, [Event(EventType(f"run.{status}"), error)])
    return ended


def cancel_waiting(engine: Engine, pipeline_id: str) -> bool:
    """Cancel a run that nobody works yet; False when it waits no more."""
    return end_waiting(engine, pipeline_id, RunStatus.CANCELLED, _CANCELLED)


def runs_in_prefect(
    engine: Engine, pipeline_ids: Collection[str], flow_run_ids: Collection[str], ended_seconds: float
) -> list[dict[str, Any]]:
    """Return the runs of these ids or flow runs, those that wait, and those that ended in the last `ended_seconds`.

    Rows hold id, status, error, prefect_flow_run_id and `ended_for`, the seconds since the end; the oldest run first.
    """
    ended_for = func.extract("epoch", _NOW - Pipeline.finished_at)
    columns = (Pipeline.id, Pipeline.status, Pipeline.error, Pipeline.prefect_flow_run_id, ended_for.label("ended_for"))
    waits_or_ended = or_(Pipeline.status == RunStatus.PENDING.value, ended_for < ended_seconds)
    wanted = or_(
        Pipeline.id.in_(pipeline_ids),
        Pipeline.prefect_flow_run_id.in_(flow_run_ids),
        and_(Pipeline.prefect_flow_run_id.is_not(None), waits_or_ended),
    )
    with engine.connect() as connection:
        rows = connection.execute(select(*columns).where(wanted).order_by(Pipeline.number)).mappings()
        return [{str(name): value for name, value in row.items()} for row in rows]
