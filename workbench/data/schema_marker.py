"""Creates a run's schemas, each with a comment that says to which database's runs it belongs."""

from __future__ import annotations

from typing import Any

from psycopg2 import sql
from sqlalchemy import Connection

MARKER = "run of workbench database "
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


def schema_creation(schema: str) -> sql.Composed:
    """Return the statements that create `schema`, unless it is there, and mark it where run state is kept."""
    quoted = schema.replace('"', '""')
    comment = sql.Literal(f'comment on schema "{quoted}" is ')
    return _CREATE.format(schema=sql.Identifier(schema), comment=comment, marker=sql.Literal(MARKER))


def create_schema(connection: Connection, schema: str) -> None:
    """Create `schema` in the caller's transaction, marked."""
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql(schema_creation(schema).as_string(driver))
