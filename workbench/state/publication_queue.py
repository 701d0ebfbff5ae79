"""Which completed runs readers are to see, which they do see, and why one is not shown yet.

A run is pending from the transaction that completes it until it is published, or until a newer one is. The newest
pending run of a schema is the one to publish; newer is the one with the higher number, whatever the clock said.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from workbench.state.events import Event, EventType, append
from workbench.state.models import Pipeline, PipelinePublication
from workbench.state.states import PublicationStatus, RunStatus

_PENDING = PublicationStatus.PENDING.value
_LONGEST_PAUSE_SECONDS = 60

_NEWEST = text("""
select pipelines.id as pipeline_id, schema, number, pipelines.created_at
from pipeline_publications join pipelines on pipelines.id = pipeline_id
where pipeline_publications.status = 'pending' and pipelines.status = 'completed'
    and (cast(:schema as text) is null or schema = :schema)
order by number desc limit 1
""")

# The next attempt is due after 5 s, later after a minute. One that the clock says is still to come delays nothing.
_DUE = text("""
select distinct schema from pipeline_publications
where status = 'pending' and (
    not :paced or attempted_at is null or clock_timestamp() - attempted_at
        not between interval '0' and make_interval(secs => least(5 * attempts, :longest))
)
order by schema
""")

_SUPERSEDE = text("""
update pipeline_publications set status = 'superseded', reason = 'run ' || newer.id || ', a newer one, is published'
from pipelines as newer, pipelines as older
where newer.id = :pipeline_id and older.id = pipeline_publications.pipeline_id and older.number < newer.number
    and schema = :schema and pipeline_publications.status <> 'superseded'
returning older.id
""")


class Candidate(NamedTuple):
    """A completed run that readers of `schema` do not see yet."""

    pipeline_id: str
    schema: str
    number: int
    created_at: datetime


def request_publication(connection: Connection, pipeline_id: str, schema: str) -> None:
    """Have the run published to `schema` from now on; belongs into the transaction that completes it."""
    anew = {"schema": schema, "status": _PENDING, "reason": None, "attempts": 0, "attempted_at": None}
    row = insert(PipelinePublication).values(pipeline_id=pipeline_id, **anew)
    again = {**anew, "published_at": None, "requested_at": func.clock_timestamp()}
    connection.execute(row.on_conflict_do_update(index_elements=["pipeline_id"], set_=again))


def withdraw_publication(connection: Connection, pipeline_id: str) -> None:
    """Forget that the run is to be published: its results are about to be made again."""
    pending = (PipelinePublication.pipeline_id == pipeline_id, PipelinePublication.status == _PENDING)
    connection.execute(delete(PipelinePublication).where(*pending))


def due_schemas(engine: Engine, *, paced: bool) -> list[str]:
    """Return the schemas that a run waits to be published to; `paced`: not those that were tried just now."""
    with engine.connect() as connection:
        return list(connection.execute(_DUE, {"paced": paced, "longest": _LONGEST_PAUSE_SECONDS}).scalars())


def newest_pending(connection: Connection, schema: str) -> Candidate | None:
    """Return the run that readers of `schema` are to see, None when they see it."""
    row = connection.execute(_NEWEST, {"schema": schema}).first()
    return Candidate(**row._mapping) if row else None


def is_completed(connection: Connection, pipeline_id: str) -> bool:
    """Tell whether the run is completed, and keep it so to the end of the transaction: nobody can resume it."""
    query = select(Pipeline.status).where(Pipeline.id == pipeline_id).with_for_update(key_share=True)
    return connection.execute(query).scalar_one_or_none() == RunStatus.COMPLETED.value


def number_of(connection: Connection, pipeline_id: str) -> int | None:
    """Return the run's number, None when there is no such run any more."""
    return connection.execute(select(Pipeline.number).where(Pipeline.id == pipeline_id)).scalar_one_or_none()


def mark_published(connection: Connection, candidate: Candidate) -> None:
    """Note that readers see the run, with the event that says so."""
    values = {"status": PublicationStatus.PUBLISHED.value, "reason": None, "published_at": func.clock_timestamp()}
    _update(connection, candidate.pipeline_id, **values)
    append(connection, candidate.pipeline_id, [Event(EventType.RUN_PUBLISHED, {"schema": candidate.schema})])


def supersede_older(connection: Connection, pipeline_id: str, schema: str) -> list[str]:
    """Note of every older run that readers see `pipeline_id` instead; returns those that had been waiting."""
    pending = (PipelinePublication.schema == schema, PipelinePublication.status == _PENDING)
    waiting = set(connection.execute(select(PipelinePublication.pipeline_id).where(*pending)).scalars())
    superseded = connection.execute(_SUPERSEDE, {"pipeline_id": pipeline_id, "schema": schema})
    return sorted(waiting.intersection(row.id for row in superseded))


def note_attempt(engine: Engine, pipeline_id: str, reason: str) -> None:
    """Note why an attempt to publish the run has failed; nothing when it is published meanwhile."""
    values = {"reason": reason, "attempted_at": func.clock_timestamp(), "attempts": PipelinePublication.attempts + 1}
    with engine.begin() as connection:
        _update(connection, pipeline_id, **values)


def publication_of(engine: Engine, pipeline_id: str) -> dict[str, Any] | None:
    """Return schema, status, reason, attempts and times of a run's publication; None for a run that never completed."""
    table = PipelinePublication.__table__
    with engine.connect() as connection:
        row = connection.execute(select(table).where(table.c.pipeline_id == pipeline_id)).mappings().first()
    return {str(name): value for name, value in row.items()} if row else None


def pending_publications(engine: Engine) -> list[dict[str, Any]]:
    """Return the completed runs that readers do not see yet, oldest first."""
    table = PipelinePublication.__table__
    query = select(table).join(Pipeline).where(table.c.status == _PENDING).order_by(Pipeline.number)
    with engine.connect() as connection:
        return [{str(name): value for name, value in row.items()} for row in connection.execute(query).mappings()]


def _update(connection: Connection, pipeline_id: str, **values: Any) -> None:
    pending = (PipelinePublication.pipeline_id == pipeline_id, PipelinePublication.status == _PENDING)
    connection.execute(update(PipelinePublication).where(*pending).values(**values))
