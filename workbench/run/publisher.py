"""Publishes completed runs: separate from the run, whose outcome it never changes, and retried until it succeeds.

The process of a run tries for a few seconds; page, worker, relay and every later command retry.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from workbench.base.errors import WorkbenchError
from workbench.data.previous_marts import drop_no_longer_read
from workbench.data.publication import (
    MARTS,
    be_the_only_publisher,
    check_reader_schema,
    give_way_to_readers,
    publish,
    reader_state,
)
from workbench.services.database_errors import reason_of
from workbench.state import publication_queue as queue
from workbench.state.failpoints import reach

log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.3
_CONFLICTS = frozenset({"55P03", "40P01", "40001"})  # lock_not_available, deadlock_detected, serialization_failure

_HOLDERS = text("""
select distinct activity.pid, usename, application_name,
    floor(extract(epoch from clock_timestamp() - xact_start)) as seconds
from pg_locks
join pg_class on pg_class.oid = relation
join pg_stat_activity as activity on activity.pid = pg_locks.pid
where granted and pg_locks.pid <> pg_backend_pid() and locktype = 'relation'
    and database = (select oid from pg_database where datname = current_database())
    and relnamespace = to_regnamespace(quote_ident(:schema)) and relname = any(:views)
order by seconds desc nulls last limit 3
""")


@dataclass(frozen=True)
class Attempt:
    """An attempt to publish: `reason` says why it is still pending; runs `superseded` will not be published."""

    pipeline_id: str
    schema: str
    reason: str | None = None
    superseded: tuple[str, ...] = ()

    @property
    def published(self) -> bool:
        return self.reason is None

    def __str__(self) -> str:
        if self.reason is not None:
            return f"run {self.pipeline_id} is completed and not yet published in schema {self.schema}: {self.reason}"
        dropped = f"; not published any more: {', '.join(self.superseded)}" if self.superseded else ""
        return f"run {self.pipeline_id} is published in schema {self.schema}{dropped}"


def check_readers(engine: Engine, schema: str) -> None:
    """Raise `ReaderSchemaRefused` when no run could be published to `schema`."""
    with engine.connect() as connection:
        check_reader_schema(connection, schema)


def publish_soon(engine: Engine, stop: threading.Event | None = None) -> list[Attempt]:
    """Publish pending runs, for a few seconds at most or until `stop`. Raises nothing."""
    deadline, stop = time.monotonic() + _PATIENCE_SECONDS, stop or threading.Event()
    attempts = publish_due(engine)
    while any(not each.published for each in attempts) and time.monotonic() < deadline:
        if stop.wait(_PAUSE_SECONDS):
            break
        attempts = publish_due(engine)
    return attempts


def publish_due(engine: Engine, *, paced: bool = False) -> list[Attempt]:
    """Try once to publish the newest pending run of each schema; `paced`: not what was tried just now.

    Raises nothing: the reason of a failure is stored with the publication, and a lost database is left to the next try.
    """
    try:
        attempts = [_attempt(engine, schema) for schema in queue.due_schemas(engine, paced=paced)]
    except DBAPIError as error:
        log.warning("publications not tried", extra={"error_type": type(error).__name__})
        return []
    return [each for each in attempts if each is not None]


def _attempt(engine: Engine, schema: str) -> Attempt | None:
    """Publish the newest pending run; None when there is none any more."""
    with engine.connect() as connection:
        candidate = queue.newest_pending(connection, schema)
    if candidate is None:
        return None
    try:
        attempt = _published(engine, candidate)
    except (WorkbenchError, DBAPIError) as error:
        return _delayed(engine, candidate, error)
    if attempt is not None:
        log.info(str(attempt), extra={"pipeline_id": attempt.pipeline_id})
        drop_no_longer_read(engine)
    return attempt


def _published(engine: Engine, candidate: queue.Candidate) -> Attempt | None:
    """Publish in one transaction with its state and its event; None when nothing is left to do."""
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        give_way_to_readers(connection)
        completed = queue.is_completed(connection, candidate.pipeline_id)
        be_the_only_publisher(connection, candidate.schema)
        if not completed or queue.newest_pending(connection, candidate.schema) != candidate:
            return None
        shown = _shown_if_newer(connection, candidate)
        if shown is None:
            publish(connection, candidate.schema, candidate.pipeline_id, candidate.created_at)
            queue.mark_published(connection, candidate)
            reach("run_published")
        superseded = queue.supersede_older(connection, shown or candidate.pipeline_id, candidate.schema)
    return Attempt(shown or candidate.pipeline_id, candidate.schema, superseded=tuple(superseded))


def _shown_if_newer(connection: Connection, candidate: queue.Candidate) -> str | None:
    """Return the run that readers see when it is newer than the candidate, which is then never published."""
    state = reader_state(connection, candidate.schema)
    number = queue.number_of(connection, state.pipeline_id) if state else None
    return state.pipeline_id if state and number is not None and number > candidate.number else None


def _delayed(engine: Engine, candidate: queue.Candidate, error: WorkbenchError | DBAPIError) -> Attempt:
    in_the_way = isinstance(error, DBAPIError) and getattr(error.orig, "pgcode", None) in _CONFLICTS
    if in_the_way:
        reason = _holders(engine, candidate.schema)
    else:
        reason = str(error) if isinstance(error, WorkbenchError) else reason_of(error)
    attempt = Attempt(candidate.pipeline_id, candidate.schema, reason)
    log.info(str(attempt), extra={"pipeline_id": candidate.pipeline_id})
    queue.note_attempt(engine, candidate.pipeline_id, reason)
    return attempt


def _holders(engine: Engine, schema: str) -> str:
    """Say which transactions hold what readers see."""
    with engine.connect() as connection:
        rows = connection.execute(_HOLDERS, {"schema": schema, "views": list(MARTS)}).all()
    held = [
        f"{row.usename} ({row.application_name or 'no application name'}, process {row.pid}"
        + (f", for {row.seconds:,.0f} s)" if row.seconds is not None else ")")
        for row in rows
    ]
    if not held:
        return "another transaction held a lock that the publication needs"
    return f"it waits for the end of the transaction of {'; '.join(held)}"
