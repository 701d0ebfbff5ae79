"""Compares the tables with those this version needs, and migrates them: on purpose only, and not under runs at work.

The revision stands in a version table of our own, for `alembic_version` may be that of another application in the same
database. Before revision 0006 it stood there; it is moved where it is proven to be ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from workbench.base.errors import MigrationRefused
from workbench.state.database_identity import renew_identity

VERSION_TABLE = "workbench_version"
_FORMER_VERSION_TABLE = "alembic_version"
_FORMER_REVISIONS = ("0001", "0002", "0003", "0004", "0005")
_TABLES = ("pipelines", "pipeline_stages", "pipeline_events")
_MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK = 0x6E62_7762  # any constant will do, as long as every version of the workbench uses the same
_LEASES = text(
    "select id, lease_expires_at as expires_at, lease_expires_at < clock_timestamp() as is_over from pipelines"
    " where status in ('pending', 'running') and lease_expires_at is not null order by id"
)
_WATCH_SECONDS = 10.0  # see tracking/crash_detection.py: an owner may have been stopped, or the clock set


class Tables(Enum):
    """How the tables of a database compare with those that this version of the workbench needs."""

    MISSING = "missing"
    OLDER = "older"
    CURRENT = "current"
    NEWER = "newer"


def compared(engine: Engine) -> tuple[Tables, str]:
    """Return how the tables compare, and their revision; changes nothing."""
    with engine.connect() as connection:
        revision = _revision(connection)
    if revision is None:
        return Tables.MISSING, ""
    if revision == newest_revision():
        return Tables.CURRENT, revision
    return Tables.OLDER if revision in _own_revisions() else Tables.NEWER, revision


def newest_revision() -> str:
    """Return the revision that this version of the workbench needs."""
    return _own_revisions()[0]


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest version; concurrent callers wait for each other on an advisory lock.

    Raises `MigrationRefused` while a run of an older version is at work.
    """
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        revision = _revision(connection)
        if revision != newest_revision():
            if revision is not None:
                _check_nothing_at_work(connection)
                _move_revision(connection, revision)
            command.upgrade(configuration(connection), "head")
        renew_identity(connection)


@cache
def _own_revisions() -> tuple[str, ...]:
    """Return all revisions this version knows, newest first."""
    return tuple(script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions())


def _revision(connection: Connection) -> str | None:
    """Return the revision of our tables, None where there are none."""
    tables = inspect(connection)
    if tables.has_table(VERSION_TABLE):
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()
    if not all(tables.has_table(name) for name in (_FORMER_VERSION_TABLE, *_TABLES)):
        return None
    ours = text(f"select max(version_num) from {_FORMER_VERSION_TABLE} where version_num = any(:ours)")  # noqa: S608
    revision: str | None = connection.execute(ours, {"ours": list(_FORMER_REVISIONS)}).scalar_one()
    return revision


def _check_nothing_at_work(connection: Connection) -> None:
    """Keep other sessions from beginning runs until this transaction ends; raise when some are at work already."""
    before = {lease.id: lease.expires_at for lease in connection.execute(_LEASES)}
    if before and not _at_work(connection, before):
        time.sleep(_WATCH_SECONDS)
    at_work = _at_work(connection, before)
    if not at_work:
        connection.execute(text("lock table pipelines in access exclusive mode"))
        at_work = _at_work(connection, before)
    if at_work:
        raise MigrationRefused(
            f"the database's tables are of an older version, and its runs are at work: {', '.join(at_work)}; wait for "
            "their end or cancel them, then `workbench migrate`"
        )


def _at_work(connection: Connection, before: Mapping[str, datetime]) -> list[str]:
    """Return the runs whose lease holds, or has been renewed since it was as `before` has it."""
    leases = connection.execute(_LEASES)
    return [lease.id for lease in leases if not lease.is_over or lease.expires_at != before.get(lease.id)]


def _move_revision(connection: Connection, revision: str) -> None:
    """Take our revision out of a version table that may be another application's, whose own rows stay."""
    if inspect(connection).has_table(VERSION_TABLE):
        return
    command.stamp(configuration(connection), revision)
    ours = text(f"delete from {_FORMER_VERSION_TABLE} where version_num = :revision")  # noqa: S608
    connection.execute(ours, {"revision": revision})


def configuration(connection: Connection) -> Config:
    """Return what Alembic's commands need to work on this connection."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    return config
