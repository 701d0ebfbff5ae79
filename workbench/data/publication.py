"""Publishes a run: the schema for readers (`analytics`) shows the marts of one whole run, and never a mix of two.

Each view has two branches, the marts of the newest run and those of the run before, and the one row of `published_run`
beside the views says which of them counts. So a reader whose snapshot is older than a publication still sees the run
before, whole; one whose snapshot is older than two gets an error that says to begin a new transaction.

A publication locks the views and nothing else against readers: `create or replace view` does. Once it holds all of
them, no transaction that has read one of them is open, so none sees two runs. The marts are only read, so that an
autovacuum or a dump of them blocks no publication.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from psycopg2 import sql
from sqlalchemy import Connection, Row, text

from workbench.base.errors import ManifestBroken, ReaderSchemaRefused
from workbench.data.reader_views import Branch, View, columns_of, replace_view, run_sql
from workbench.stage.artefacts import schema_of
from workbench.stage.pipeline import PIPELINE

MARTS = PIPELINE.publish.tables

_PUBLISHED_RUN = "published_run"
_STATE_COLUMNS = (
    "one_row", "pipeline_id", "created_at", "published_at", "publication", "marts_schema", "former_schema",
)  # fmt: skip
_STATE_TABLE = """
create table {} (
    one_row boolean primary key default true check (one_row),
    pipeline_id text not null,
    created_at timestamptz not null,
    published_at timestamptz not null,
    publication integer not null,
    marts_schema text not null,
    former_schema text
)"""

_MARK = """
insert into {} as present (pipeline_id, created_at, published_at, publication, marts_schema)
values ({}, {}, clock_timestamp(), {}, {})
on conflict (one_row) do update set
    pipeline_id = excluded.pipeline_id, created_at = excluded.created_at, published_at = excluded.published_at,
    publication = excluded.publication, marts_schema = excluded.marts_schema, former_schema = present.marts_schema
"""

# A tenth of PostgreSQL's deadlock_timeout: a publication may hold one view while it waits for the next, and gives way
# before any reader is ended as a deadlock.
_GIVE_WAY = text("""
select set_config('lock_timeout', greatest(1, least(100, extract(epoch from patience) * 100))::int || 'ms', true)
from (select current_setting('deadlock_timeout')::interval as patience) as setting
""")

_ONE_AT_A_TIME = text("select pg_advisory_xact_lock(hashtextextended(:schema, 0))")

_OURS = text("""
select nspname as schema, pg_class.oid, has_table_privilege(pg_class.oid, 'select') as may_read
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relname = 'published_run' and relkind = 'r'
    and :columns <@ array(select attname::text from pg_attribute where attrelid = pg_class.oid and attnum > 0)
    and (cast(:schema as text) is null or nspname = :schema)
order by nspname
""")

# What has one of our names in the schema: ours is the table of our columns, and a view that reads it.
_NAMED_AS_OURS = text("""
select relname as name, pg_has_role(relowner, 'usage') as may_change, relowner::regrole::text as owner,
    case relkind when 'r' then 'table' when 'v' then 'view' when 'm' then 'materialized view'
        when 'f' then 'foreign table' when 'p' then 'partitioned table' when 'S' then 'sequence'
        when 'c' then 'type' else 'index' end as kind,
    pg_class.oid = :state or relkind = 'v' and exists (
        select from pg_rewrite join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
        where ev_class = pg_class.oid and refclassid = 'pg_class'::regclass and refobjid = :state
    ) as is_ours
from pg_class where relnamespace = to_regnamespace(quote_ident(:schema)) and relname = any(:names)
union all
select typname, true, typowner::regrole::text, 'type', false
from pg_type where typnamespace = to_regnamespace(quote_ident(:schema)) and typname = any(:names) and typrelid = 0
order by name
""")

_RIGHTS = text("""
select case when to_regnamespace(quote_ident(:schema)) is null
    then has_database_privilege(current_database(), 'create')
    else has_schema_privilege(to_regnamespace(quote_ident(:schema))::oid, 'create')
        and has_schema_privilege(to_regnamespace(quote_ident(:schema))::oid, 'usage') end
""")

_ASIDE = text("select nspname from pg_namespace where nspname ~ '^run_[0-9]{8}t[0-9]{6}_[0-9a-f]{6}_p[0-9]+$'")


class ReaderState(NamedTuple):
    """What the readers of `schema` see; `marts_schema` and `former_schema` hold the marts of the views' branches."""

    schema: str
    pipeline_id: str
    publication: int
    marts_schema: str
    former_schema: str | None


def check_reader_schema(connection: Connection, schema: str) -> None:
    """Raise `ReaderSchemaRefused` when `schema` has a foreign object of a needed name, or a right is missing."""
    state = next((row.oid for row in _own_tables(connection, schema)), 0)
    names = [*MARTS, _PUBLISHED_RUN]
    for found in connection.execute(_NAMED_AS_OURS, {"schema": schema, "state": state, "names": names}):
        if not found.is_ours:
            raise ReaderSchemaRefused(
                f"schema {schema}: the {found.kind} {found.name} was not made by the workbench and is left as it is; "
                "rename it, move it away, or set WORKBENCH_SCHEMA to another schema for the published marts"
            )
        if not found.may_change:
            raise ReaderSchemaRefused(
                f"schema {schema}: the {found.kind} {found.name} belongs to {found.owner} and cannot be replaced; "
                "make the workbench's database user a member of that role, or set WORKBENCH_SCHEMA to another schema"
            )
    if not connection.execute(_RIGHTS, {"schema": schema}).scalar_one():
        raise ReaderSchemaRefused(
            f"schema {schema}: the workbench's database user may not create views in it; grant it `create` and `usage` "
            "on the schema (on the database, if there is no such schema), or set WORKBENCH_SCHEMA to another one"
        )


def give_way_to_readers(connection: Connection) -> None:
    """Let every lock be waited for 100 ms at the most, to the end of the caller's transaction."""
    connection.execute(_GIVE_WAY)


def be_the_only_publisher(connection: Connection, schema: str) -> None:
    """Wait until no other transaction publishes to `schema`; lasts to the end of the caller's."""
    connection.execute(_ONE_AT_A_TIME, {"schema": schema})


def publish(connection: Connection, schema: str, pipeline_id: str, created_at: datetime) -> None:
    """Let readers of `schema` see this run as soon as the caller's transaction is committed.

    Raises `ReaderSchemaRefused`, `ManifestBroken` when the run has no marts, `NotPublished` when a view cannot take
    the mart's columns, and the driver's `LockNotAvailable` when readers hold a view. The transaction is then lost.
    """
    give_way_to_readers(connection)
    be_the_only_publisher(connection, schema)
    check_reader_schema(connection, schema)
    _prepare(connection, schema)
    former = reader_state(connection, schema)
    number, marts = former.publication + 1 if former else 1, schema_of(pipeline_id)
    branches = [Branch(marts, number), *([Branch(former.marts_schema, number - 1)] if former else [])]
    for mart in MARTS:
        if not columns_of(connection, marts, mart):
            raise ManifestBroken(
                f"schema {marts} has no {mart} to publish: `workbench resume {pipeline_id} --from transform`"
            )
        replace_view(connection, View(schema, mart), branches)
    values = (sql.Identifier(schema, _PUBLISHED_RUN), *map(sql.Literal, (pipeline_id, created_at, number, marts)))
    run_sql(connection, _MARK, *values)


def reader_state(connection: Connection, schema: str) -> ReaderState | None:
    """Return what readers of `schema` see; None when nothing is published there."""
    return next(iter(_states(connection, schema)), None)


def published_runs(connection: Connection) -> frozenset[str]:
    """Return the runs that readers see, of all schemas that a workbench has published to in this database."""
    return frozenset(state.pipeline_id for state in _states(connection))


def published_schemas(connection: Connection) -> frozenset[str]:
    """Return the schemas that readers' views read from; who drops one drops the views with it."""
    states = _states(connection)
    return frozenset(name for state in states for name in (state.marts_schema, state.former_schema) if name)


def schemas_no_longer_read(connection: Connection) -> list[str]:
    """Return the schemas of marts that were set aside for readers, and that no view reads any more."""
    aside = {str(row.nspname) for row in connection.execute(_ASIDE)}
    return sorted(aside - published_schemas(connection))


def move_state(connection: Connection, state: ReaderState, origin: str, target: str) -> None:
    """Record that the marts of schema `origin`, which readers see by this state, are in schema `target`."""
    moved = "update {} set marts_schema = {}, former_schema = {}"
    names = [target if name == origin else name for name in (state.marts_schema, state.former_schema)]
    run_sql(connection, moved, sql.Identifier(state.schema, _PUBLISHED_RUN), *map(sql.Literal, names))


def states_that_read(connection: Connection, marts_schema: str) -> list[ReaderState]:
    """Return the states of all schemas whose readers see marts of schema `marts_schema`."""
    return [state for state in _states(connection) if marts_schema in (state.marts_schema, state.former_schema)]


def _prepare(connection: Connection, schema: str) -> None:
    if connection.execute(text("select to_regnamespace(quote_ident(:schema))"), {"schema": schema}).scalar() is None:
        run_sql(connection, "create schema {}", sql.Identifier(schema))
    if not _own_tables(connection, schema):
        run_sql(connection, _STATE_TABLE, sql.Identifier(schema, _PUBLISHED_RUN))


def _own_tables(connection: Connection, schema: str | None = None) -> list[Row[Any]]:
    """Return schema and oid of each table `published_run` that a workbench has made: its columns prove it."""
    return list(connection.execute(_OURS, {"columns": list(_STATE_COLUMNS), "schema": schema}))


def _states(connection: Connection, schema: str | None = None) -> list[ReaderState]:
    query = "select pipeline_id, publication, marts_schema, former_schema from {}"
    readable = [table.schema for table in _own_tables(connection, schema) if table.may_read]
    return [
        ReaderState(name, *row)
        for name in readable
        for row in run_sql(connection, query, sql.Identifier(name, _PUBLISHED_RUN))
    ]
