"""Publishes a run: schema `analytics` shows readers the marts of one whole run, and never a mix of two.

Each view of `analytics` has two branches, the marts of the newest run and those of the run before, and the one row of
`analytics.published_run` says which of them counts. So a reader whose snapshot is older than a publication still sees
the run before, whole; one whose snapshot is older than two is told to begin anew. A publisher takes all views for
itself before it changes any: a reader who has read one of them and goes on to the next, in one transaction, has ended
before the change or begins after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import stamina
from psycopg2 import sql
from psycopg2.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import OperationalError

from pipeline_lib.artefacts import schema_of
from pipeline_lib.errors import ManifestBroken, ServiceUnavailable

MARTS = ("item_metrics", "category_summary", "country_summary", "daily_summary")

_SECONDS_FOR_LOCKS = 15.0
# Well under PostgreSQL's deadlock_timeout of 1 s: a publisher gives way before any reader is ended as a deadlock.
_WAIT_FOR_LOCK = "100ms"

_PREPARE = """
create schema if not exists analytics;
create table if not exists analytics.published_run (
    one_row boolean primary key default true check (one_row),
    pipeline_id text not null,
    created_at timestamptz not null,
    published_at timestamptz not null,
    publication integer not null,
    marts_schema text not null,
    former_schema text
)"""

_MARK = text("""
insert into analytics.published_run as present
    (pipeline_id, created_at, published_at, publication, marts_schema)
values (:pipeline_id, :created_at, clock_timestamp(), :publication, :schema)
on conflict (one_row) do update set
    pipeline_id = excluded.pipeline_id, created_at = excluded.created_at, published_at = excluded.published_at,
    publication = excluded.publication, marts_schema = excluded.marts_schema, former_schema = present.marts_schema
""")

_MOVED = text("""
update analytics.published_run set
    marts_schema = case marts_schema when :schema then :aside else marts_schema end,
    former_schema = case former_schema when :schema then :aside else former_schema end
""")

# PostgreSQL reads no row of a branch whose number is not the reader's. A snapshot from before the oldest branch finds
# none that counts: rather than show nothing, the cast fails and quotes its text (which needs a column in it, else it
# would fail while the query is planned, for every reader).
_BRANCH = """
select {} from {} where (
    select case when publication >= {} then publication
        else cast('this transaction is too old, begin a new one; it sees run ' || pipeline_id as integer)
    end
    from analytics.published_run
) = {}"""

_COLUMNS = text("""
select attname, format_type(atttypid, atttypmod) as type
from pg_attribute
where attrelid = to_regclass(format('%I.%I', :schema, :relation)) and attnum > 0 and not attisdropped
order by attnum
""")

_ASIDE = text("select nspname from pg_namespace where nspname ~ '^run_[0-9]{8}t[0-9]{6}_[0-9a-f]{6}_p[0-9]+$'")

_LOCK_TIMEOUT = text("select set_config('lock_timeout', :wait, true)")


def publish(connection: Connection, pipeline_id: str, created_at: datetime) -> bool:
    """Let readers of `analytics` see this run as soon as the caller's transaction is committed.

    Returns False and changes nothing when a run created later is published already. Raises `ManifestBroken` when
    the run has no marts, `ServiceUnavailable` when readers hold the views for 15 s (the transaction stays usable).
    """
    schema = schema_of(pipeline_id)
    _be_the_only_publisher(connection)
    connection.exec_driver_sql(_PREPARE)
    former = _state(connection)
    if former is not None and (former.created_at, former.pipeline_id) > (created_at, pipeline_id):
        return False
    publication = former.publication + 1 if former else 1
    _lock(connection, (sql.Identifier("analytics", name) for name in ("published_run", *_views(connection))))
    for mart in MARTS:
        _replace_view(connection, mart, schema, publication, former.marts_schema if former else None)
    values = {"pipeline_id": pipeline_id, "created_at": created_at, "publication": publication, "schema": schema}
    connection.execute(_MARK, values)
    _drop_superseded(connection)
    return True


def published_run(connection: Connection) -> str | None:
    """Return the id of the run that readers of `analytics` see; None when none is published."""
    state = _state(connection)
    return str(state.pipeline_id) if state else None


def published_schemas(connection: Connection) -> frozenset[str]:
    """Return the schemas that the views of `analytics` read from; who drops one drops the views with it."""
    state = _state(connection)
    return frozenset(name for name in (state.marts_schema, state.former_schema) if name) if state else frozenset()


def set_aside(connection: Connection, schema: str) -> bool:
    """Make room for new marts in `schema` when readers of `analytics` see the ones that are in it.

    They move to a schema of their own and the views go on reading them there, while dbt drops and makes marts in
    `schema` as often as need be. The publication after the next one drops them. Returns whether anything moved.
    """
    _be_the_only_publisher(connection)
    state = _state(connection)
    if state is None or schema not in (state.marts_schema, state.former_schema):
        return False
    aside = f"{schema}_p{state.publication if schema == state.marts_schema else state.publication - 1}"
    _lock(connection, (sql.Identifier(schema, mart) for mart in MARTS))
    _run(connection, "create schema {}", sql.Identifier(aside))
    for mart in MARTS:
        _run(connection, "alter table {} set schema {}", sql.Identifier(schema, mart), sql.Identifier(aside))
    connection.execute(_MOVED, {"schema": schema, "aside": aside})
    return True


def _be_the_only_publisher(connection: Connection) -> None:
    """Wait until no other transaction publishes; lasts to the end of the caller's."""
    connection.exec_driver_sql("select pg_advisory_xact_lock(hashtextextended('analytics', 0))")


def _state(connection: Connection) -> Row[Any] | None:
    if connection.execute(text("select to_regclass('analytics.published_run')")).scalar() is None:
        return None
    return connection.execute(text("select * from analytics.published_run")).one_or_none()


def _views(connection: Connection) -> list[str]:
    return [mart for mart in MARTS if _columns(connection, "analytics", mart)]


def _columns(connection: Connection, schema: str, relation: str) -> list[tuple[str, str]]:
    """Return names and types of a relation's columns; none when there is no such relation."""
    found = connection.execute(_COLUMNS, {"schema": schema, "relation": relation})
    return [(row.attname, row.type) for row in found]


def _lock(connection: Connection, relations: Iterable[sql.Identifier]) -> None:
    """Take all relations, and what the views among them read, against every reader; all of them or none.

    A publisher waits for a lock for 100 ms, then gives back what it holds and begins anew, so that it never stands
    in a deadlock with a reader, and short readers cannot shut it out for ever as they would one that never waits.
    """
    usual: str = connection.exec_driver_sql("show lock_timeout").scalar_one()
    names = sql.SQL(", ").join(relations)
    try:
        for attempt in stamina.retry_context(
            on=_is_held, attempts=None, timeout=_SECONDS_FOR_LOCKS, wait_initial=0.02, wait_max=0.5, wait_jitter=0.1
        ):
            with attempt, connection.begin_nested():
                connection.execute(_LOCK_TIMEOUT, {"wait": _WAIT_FOR_LOCK})
                _run(connection, "lock table {} in access exclusive mode", names)
                connection.execute(_LOCK_TIMEOUT, {"wait": usual})
    except OperationalError as error:
        if not _is_held(error):
            raise
        raise ServiceUnavailable(
            f"readers held schema analytics for {_SECONDS_FOR_LOCKS:.0f} s, so the run is not published; "
            "end their transactions and try again"
        ) from error


def _is_held(error: Exception) -> bool:
    return isinstance(error, OperationalError) and isinstance(error.orig, LockNotAvailable | DeadlockDetected)


def _replace_view(connection: Connection, mart: str, schema: str, publication: int, former: str | None) -> None:
    columns = _columns(connection, schema, mart)
    if not columns:
        raise ManifestBroken(f"schema {schema} has no {mart} to publish; run stage 4 (transform) first")
    branches = {publication: schema}
    if former is not None and _columns(connection, former, mart) == columns:
        branches[publication - 1] = former
    view = sql.Identifier("analytics", mart)
    if _columns(connection, "analytics", mart) != columns:
        _run(connection, "drop view if exists {}", view)
    names = sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns)
    selects = [
        sql.SQL(_BRANCH).format(names, sql.Identifier(origin, mart), sql.Literal(min(branches)), sql.Literal(number))
        for number, origin in branches.items()
    ]
    _run(connection, "create or replace view {} as {}", view, sql.SQL(" union all ").join(selects))


def _drop_superseded(connection: Connection) -> None:
    """Drop what was set aside and is read by no view any more."""
    present = published_schemas(connection)
    aside: list[str] = list(connection.execute(_ASIDE).scalars())
    for schema in (name for name in aside if name not in present):
        _run(connection, "drop schema {} cascade", sql.Identifier(schema))


def _run(connection: Connection, template: str, *parts: sql.Composable) -> None:
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql(sql.SQL(template).format(*parts).as_string(driver))
