"""Connects to the tracking database and brings its tables to the present version."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import stamina
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from pipeline_lib.errors import ServiceUnavailable

Given = ParamSpec("Given")
Result = TypeVar("Result")
_PATIENCE_SECONDS = 60.0
_MIGRATIONS = Path(__file__).with_name("migrations")
_MIGRATION_LOCK = 0x6E62_7762  # any constant will do, as long as every version of the workbench uses the same


def _connection_is_lost(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error, OperationalError))


class _Outage:
    """When this process first found its database away, None while it answers."""

    began: float | None = None


def _is_waited_for(error: Exception) -> bool:
    """Tell whether a lost connection is worth another try: a minute is all an outage gets, of all calls together."""
    if not _connection_is_lost(error):
        return False
    if _Outage.began is None:
        _Outage.began = time.monotonic()
    return time.monotonic() - _Outage.began < _PATIENCE_SECONDS


def patient(call: Callable[Given, Result]) -> Callable[Given, Result]:
    """Decorate what waits, up to a minute, for a database that restarts (P17). It must be safe to repeat."""

    @stamina.retry(on=_is_waited_for, attempts=None, timeout=_PATIENCE_SECONDS, wait_initial=0.1, wait_max=2.0)
    @wraps(call)
    def tried(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        result = call(*args, **kwargs)
        _Outage.began = None
        return result

    return tried


def connect(database_url: str) -> Engine:
    """Return an engine on an up-to-date schema; raises `ServiceUnavailable` naming host and port, never the password.

    `database_url` is a libpq URI. Connections are checked before use, so that a restarted server is met by a new one.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    engine = create_engine(
        url, pool_pre_ping=True, pool_size=5, hide_parameters=True, connect_args={"connect_timeout": 10}
    )
    try:
        migrate(engine)
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise ServiceUnavailable(f"database {url.render_as_string()}: {reason}; see `workbench doctor`") from error
    return engine


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest version; concurrent callers wait for each other on an advisory lock."""
    if _is_current(engine):
        return
    with engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        command.upgrade(_config(connection), "head")


def _is_current(engine: Engine) -> bool:
    newest = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == newest


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
