"""What a run needs of the database's role: rights to create, and enough free connections."""

from __future__ import annotations

import os
from contextlib import closing

import psycopg2

from workbench.base.connection_uri import place_of
from workbench.base.errors import InvalidSetting, ServiceUnavailable

_OTHER_CONNECTIONS = 7  # run, lease, progress, relay, publication, the kernel's own, one for a command
_RIGHTS = """
select
    current_database(), current_user, current_schema(),
    has_database_privilege(current_database(), 'create'),
    case
        when to_regclass('pipelines') is null then has_schema_privilege(current_schema(), 'create')
        else has_table_privilege(to_regclass('pipelines')::oid, 'insert')
    end
"""
# Superusers have no limits; -1 is no limit. This session counts as free: the run can have it.
_ROOM = """
with sessions as (
    select usesysid, datid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
),
mine as (select oid, rolname, rolsuper, rolconnlimit from pg_roles where rolname = session_user),
limits (place, name, most, used) as (
    select 'role', rolname, case when rolsuper then -1 else rolconnlimit end,
        (select count(*) from sessions where usesysid = mine.oid)
    from mine
    union all
    select 'database', datname, case when rolsuper then -1 else datconnlimit end,
        (select count(*) from sessions where datid = pg_database.oid)
    from pg_database, mine where datname = current_database()
    union all
    select 'server', 'max_connections', current_setting('max_connections')::integer - case
        when rolsuper then 0
        else current_setting('superuser_reserved_connections')::integer
            + coalesce(current_setting('reserved_connections', true), '0')::integer
    end, (select count(*) from sessions)
    from mine
)
select place, name, most, used from limits where most >= 0 order by most - used limit 1
"""


def loading_connections() -> int:
    """Return how many connections load at once: one for each core, at most 8."""
    return min(8, os.cpu_count() or 1)


def connections_needed() -> int:
    """Return how many connections a run may have open at once, with up to 4 dbt threads."""
    return _OTHER_CONNECTIONS + loading_connections()


def check_needs(url: str) -> None:
    """Raise `InvalidSetting` when the role may not create a run's tables, or is never allowed enough connections.

    Raises `ServiceUnavailable` when enough are allowed, but too many are in use. `url` is a complete URI.
    """
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_RIGHTS)
        _check_rights(place_of(url), *cursor.fetchall()[0])
        cursor.execute(_ROOM)
        for place, name, most, used in cursor.fetchall():
            _check_room(f"PostgreSQL at {place_of(url)}", place, name, most, used)


def _check_rights(at: str, database: str, role: str, schema: str, may_create: bool, may_write: bool) -> None:
    if not may_create:
        raise InvalidSetting(
            f"DATABASE_URL: role {role} may create no schemas in database {database} at {at}; "
            f"`grant create on database {database} to {role}`"
        )
    if not may_write:
        raise InvalidSetting(
            f"DATABASE_URL: role {role} may not write the tables of the run state in schema {schema} at {at}; "
            f"`grant all on schema {schema} to {role}`, or name the role that made them"
        )


def _check_room(at: str, place: str, name: str, most: int, used: int) -> None:
    needed = connections_needed()
    if most - used >= needed:
        return
    raise_it = "raise max_connections" if place == "server" else f"`alter {place} {name} connection limit …`"
    what = f"{at}: {place} {name} allows {most} connections, and a run needs up to {needed}"
    if most < needed:
        raise InvalidSetting(f"{what}; {raise_it}")
    raise ServiceUnavailable(f"{what}: {used} are in use; end other sessions, or {raise_it}")
