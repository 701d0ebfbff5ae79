"""Keeps marts that readers see while their run makes new ones: they move to a schema of their own, `run_<id>_p<n>`.

Each mart moves in a transaction of its own, which waits for this one lock and holds no other one: so no reader can
stand in a deadlock with it, and it may wait longer than deadlock_timeout, after which PostgreSQL ends an autovacuum
that is in the way.
"""

from __future__ import annotations

import logging
import time

from psycopg2 import sql
from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from workbench.base.errors import ServiceUnavailable
from workbench.data.publication import (
    MARTS,
    ReaderState,
    be_the_only_publisher,
    move_state,
    published_schemas,
    schemas_no_longer_read,
    states_that_read,
)
from workbench.data.reader_views import columns_of, run_sql
from workbench.data.run_schema import create_schema

log = logging.getLogger(__name__)
_SECONDS_FOR_LOCKS = 60.0
_PAUSE_SECONDS = 1.0  # for readers that have queued up behind a mart that could not be moved

_LONGER_THAN_DEADLOCK_TIMEOUT = text("""
select set_config('lock_timeout', (extract(epoch from patience) * 1000 + 500)::int || 'ms', true)
from (select current_setting('deadlock_timeout')::interval as patience) as setting
""")
_BRIEFLY = text("select set_config('lock_timeout', '100ms', true)")
_NUMBERS = text("""
select coalesce(max(substring(nspname from '_p([0-9]+)$')::bigint), 0) + 1
from pg_namespace where nspname ~ ('^' || :schema || '_p[0-9]+$')
""")
_RELATIONS = text("""
select relname, case relkind when 'v' then 'view' else 'table' end as kind from pg_class
where relnamespace = to_regnamespace(quote_ident(:schema)) and relkind in ('r', 'v') order by relname
""")


def set_aside(engine: Engine, schema: str) -> bool:
    """Make room for new marts in `schema` when readers see the ones that are in it; returns whether anything moved.

    The views go on reading them in their new place, while dbt drops and makes marts in `schema` as often as need be.
    The publication after the next one drops them. A call that was cut off is finished by the next one. Raises
    `ServiceUnavailable` when another transaction holds a mart for a minute.
    """
    with engine.begin() as connection:
        _record_move(connection, schema)
        aside = _newest_aside(connection, schema)
    if aside is None:
        return False
    moved = [_is_moved(engine, mart, schema, aside) for mart in MARTS]
    return any(moved)


def drop_no_longer_read(engine: Engine) -> None:
    """Drop schemas of marts that were set aside and that no view of ours reads any more.

    One that others read, or have built views on, stays; dropping it is tried again after the next publication.
    """
    with engine.connect() as connection:
        schemas = schemas_no_longer_read(connection)
    for schema in schemas:
        try:
            with engine.begin() as connection:
                connection.execute(_BRIEFLY)
                _drop(connection, schema)
        except DBAPIError as error:
            log.info("marts set aside are not dropped yet", extra={"schema": schema, "reason": str(error.orig)})


def _record_move(connection: Connection, schema: str) -> None:
    """Create a schema for the marts and record it before any of them moves, so that no mart of readers is dropped."""
    states: list[ReaderState] = states_that_read(connection, schema)
    for state in states:
        be_the_only_publisher(connection, state.schema)
    states = states_that_read(connection, schema)
    if not states:
        return
    number: int = connection.execute(_NUMBERS, {"schema": schema}).scalar_one()
    aside = f"{schema}_p{number}"
    create_schema(connection, aside)
    for state in states:
        move_state(connection, state, schema, aside)


def _newest_aside(connection: Connection, schema: str) -> str | None:
    prefix = f"{schema}_p"
    numbers = [int(name.removeprefix(prefix)) for name in published_schemas(connection) if name.startswith(prefix)]
    return f"{prefix}{max(numbers)}" if numbers else None


def _is_moved(engine: Engine, mart: str, schema: str, aside: str) -> bool:
    """Move a mart that is not there yet; returns whether it was moved now."""
    deadline = time.monotonic() + _SECONDS_FOR_LOCKS
    while True:
        try:
            with engine.begin() as connection:
                if columns_of(connection, aside, mart) or not columns_of(connection, schema, mart):
                    return False
                connection.execute(_LONGER_THAN_DEADLOCK_TIMEOUT)
                run_sql(connection, "alter table {} set schema {}", sql.Identifier(schema, mart), sql.Identifier(aside))
                return True
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            if time.monotonic() >= deadline:
                raise ServiceUnavailable(
                    f"another transaction has held {schema}.{mart}, which readers see, for {_SECONDS_FOR_LOCKS:.0f} s, "
                    "so that no new one can be made; end that transaction and try again"
                ) from error
        time.sleep(_PAUSE_SECONDS)


def _drop(connection: Connection, schema: str) -> None:
    """Drop a schema with its tables and views, and nothing that depends on them from outside."""
    relations = list(connection.execute(_RELATIONS, {"schema": schema}))
    for kind in ("view", "table"):
        names = [sql.Identifier(schema, row.relname) for row in relations if row.kind == kind]
        if names:
            run_sql(connection, f"drop {kind} {{}}", sql.SQL(", ").join(names))
    run_sql(connection, "drop schema {}", sql.Identifier(schema))
