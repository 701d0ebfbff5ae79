"""Tables in a run's schema: created, counted for verification, and copied into the schema of a run that reuses them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as DriverConnection
from sqlalchemy import Connection, text

from workbench.base.errors import ManifestBroken
from workbench.services.database_errors import translated
from workbench.stage.pipeline import StageName, stage_named

_RELATIONS = text("""
select relname, relkind = 'v' as is_view, case when relkind = 'v' then pg_get_viewdef(pg_class.oid) end as definition
from pg_class
join pg_namespace on pg_namespace.oid = relnamespace
where nspname = :schema and relkind in ('r', 'v')
order by relname
""")
MARKER = "run of workbench database "
_SECONDS_TO_CONNECT = 10
_CREATE = sql.SQL("""
create schema if not exists {schema};
do $$
begin
    if to_regclass('workbench_database') is not null then
        execute (select {comment} || quote_literal({marker} || id) from workbench_database);
    end if;
end
$$
""")


def tables_left(stage: StageName, details: Mapping[str, Any]) -> dict[str, int]:
    """Return the rows of each table by its name, from the details of a stage's manifest; none where none is filled.

    Raises `ManifestBroken` when the manifest does not hold them.
    """
    key = stage_named(stage).tables
    if not key:
        return {}
    if key not in details:
        raise ManifestBroken("manifest.json does not hold the rows of its tables")
    return dict(details[key])


def check_tables(connection: Connection, schema: str, tables: Mapping[str, int]) -> None:
    """Count the rows of each table; raises `ManifestBroken` naming the first that is missing or has other rows."""
    present = {row.relname for row in _relations(connection, schema)}
    for table, expected in tables.items():
        if table not in present:
            raise ManifestBroken(f"table {table} is missing")
        found = _run(connection, "select count(*) from {}", sql.Identifier(schema, table)).scalar_one()
        if found != expected:
            raise ManifestBroken(f"table {table} holds {found:,} rows instead of {expected:,}")


def copy_tables(connection: Connection, tables: Collection[str], origin: str, target: str, *, views: bool) -> None:
    """Copy these tables of schema `origin` into schema `target`, in the caller's transaction; with `views` its views.

    Tables with rows, keys and statistics; views as views on the target's own tables. What was in their place goes.
    Raises what the database says when the origin is not there any more.
    """
    create_schema(connection, target)
    for relation in _relations(connection, origin):
        name = relation.relname
        if name in tables:
            _copy_table(connection, name, origin, target)
        elif views and relation.is_view:
            _copy_view(connection, name, relation.definition.replace(origin, target), target)


def _relations(connection: Connection, schema: str) -> list[Any]:
    return list(connection.execute(_RELATIONS, {"schema": schema}))


def _copy_table(connection: Connection, name: str, origin: str, target: str) -> None:
    old, new = sql.Identifier(origin, name), sql.Identifier(target, name)
    _run(connection, "drop table if exists {} cascade", new)
    _run(connection, "create table {} (like {} including all)", new, old)
    _run(connection, "insert into {} select * from {}", new, old)
    _run(connection, "analyze {}", new)


def _copy_view(connection: Connection, name: str, definition: str, target: str) -> None:
    """Create the view again; its definition names its own schema's tables, and no other text equals a run's schema."""
    _run(connection, "drop view if exists {}", sql.Identifier(target, name))
    _run(connection, "create view {} as {}", sql.Identifier(target, name), sql.SQL(definition))


def _run(connection: Connection, template: str, *parts: sql.Composable) -> Any:
    driver: Any = connection.connection.driver_connection
    return connection.exec_driver_sql(sql.SQL(template).format(*parts).as_string(driver))


def schema_creation(schema: str) -> sql.Composed:
    """Return the statements that create `schema`, unless it is there, and mark it where run state is kept."""
    quoted = schema.replace('"', '""')
    comment = sql.Literal(f'comment on schema "{quoted}" is ')
    return _CREATE.format(schema=sql.Identifier(schema), comment=comment, marker=sql.Literal(MARKER))


def create_schema(connection: Connection, schema: str) -> None:
    """Create `schema` in the caller's transaction, marked."""
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql(schema_creation(schema).as_string(driver))


@contextmanager
def connected(database_url: str) -> Iterator[DriverConnection]:
    """Open a connection for the block; raises `ServiceUnavailable` without the URL, which may hold a password."""
    try:
        connection = psycopg2.connect(database_url, connect_timeout=_SECONDS_TO_CONNECT)
    except psycopg2.OperationalError as error:
        raise translated(error) from error
    try:
        with connection:
            yield connection
    finally:
        connection.close()
