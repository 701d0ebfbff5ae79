"""Connects to the tracking database and brings its tables to the present version."""

from __future__ import annotations

import json
import math
import time
import weakref
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import stamina
from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError

from workbench.base.connection_uri import DEFAULT_PORT, parameters_of, shown
from workbench.base.errors import MigrationNeeded, NoRunYet, ServiceUnavailable, WorkbenchError
from workbench.services.database_errors import in_one_line
from workbench.state.migration import Tables, compared, migrate

Given = ParamSpec("Given")
Result = TypeVar("Result")
_PATIENCE_SECONDS = 60.0
_SILENCE_SECONDS = 30


_lost: weakref.WeakKeyDictionary[Engine, float] = weakref.WeakKeyDictionary()
_GIVES_UP_SILENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 1000 * _SILENCE_SECONDS,
}


def _connection_is_lost(error: Exception) -> bool:
    return isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error, OperationalError))


class _Outage:
    """When this process first found its database away, None while it answers."""

    began: float | None = None


def _is_waited_for(error: Exception) -> bool:
    """Tell whether a lost connection is worth another try: a minute is all an outage gets, of all calls together."""
    if not _connection_is_lost(error):
        return False
    began = _Outage.began  # another thread may meet the database again at any moment
    if began is None:
        _Outage.began = began = time.monotonic()
    return time.monotonic() - began < _PATIENCE_SECONDS


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
    """Return an engine for what starts work: tables are made or brought to the newest version first.

    `database_url` is a libpq URI. Connections are checked before use, so that a restarted server is met by a new one;
    one whose other end is silent for half a minute counts as lost. Raises `ServiceUnavailable` naming host and port,
    never the password, and `MigrationRefused` while runs of an older version are at work.
    """
    return _opened(database_url, {Tables.MISSING, Tables.OLDER, Tables.CURRENT})


def connect_by_hand(database_url: str) -> Engine:
    """Return an engine for a notebook: missing tables are made; raises `MigrationNeeded` for older ones."""
    return _opened(database_url, {Tables.MISSING})


def connect_to_read(database_url: str) -> Engine:
    """Return an engine for a command that looks: no table is made or changed.

    Raises `NoRunYet` where there is none, and `MigrationNeeded` for those of an older version.
    """
    return _opened(database_url, set())


def _opened(database_url: str, migrating: set[Tables]) -> Engine:
    engine = _engine_on(database_url)
    try:
        tables, revision = compared(engine)
        if tables in migrating:
            migrate(engine)
        else:
            _check_current(tables, revision, f"database {shown(database_url)}")
    except DBAPIError as error:
        engine.dispose()
        raise ServiceUnavailable(in_one_line(error, shown(database_url))) from error
    except WorkbenchError:
        engine.dispose()
        raise
    return engine


def _check_current(tables: Tables, revision: str, place: str) -> None:
    if tables is Tables.NEWER:
        told = "its tables are of a newer version of the workbench"
        raise ServiceUnavailable(f"{place}: {told} ({revision}); use that one, or another database")
    if tables is Tables.MISSING:
        raise NoRunYet(f"{place}: there is no run yet; `workbench run` makes one")
    if tables is Tables.OLDER:
        told = f"its tables are of an older version of the workbench ({revision})"
        raise MigrationNeeded(f"{place}: {told}; `workbench migrate` brings them up to date")


def _engine_on(database_url: str) -> Engine:
    engine = create_engine(
        sqlalchemy_url(database_url),
        pool_pre_ping=True,
        pool_size=5,
        hide_parameters=True,
        json_serializer=lambda value: json.dumps(storable(value)),
        connect_args=_GIVES_UP_SILENCE,
    )
    event.listen(engine, "handle_error", partial(_note_outage, weakref.ref(engine)))
    return engine


def sqlalchemy_url(database_url: str) -> URL:
    """Return a libpq URI, which may name several hosts, as SQLAlchemy takes it."""
    more = parameters_of(database_url)
    user, password, name = (more.pop(key, None) for key in ("user", "password", "dbname"))
    url = URL.create("postgresql+psycopg2", user, password, database=name)
    if "," not in more.get("host", ",") and not more["host"].startswith("/"):
        url = url.set(host=more.pop("host"), port=int(more.pop("port", DEFAULT_PORT)))
    return url.set(query=more)


def _note_outage(noting: weakref.ref[Engine], context: ExceptionContext) -> None:
    """Note when an engine loses the database, which a check before use finds out, too, or does not find it."""
    engine = noting()
    if engine is not None and (context.is_disconnect or context.connection is None):
        _lost[engine] = time.monotonic()


def was_away(engine: Engine, seconds: float) -> bool:
    """Tell whether this engine has lost the database, or not found it, in the last `seconds`."""
    return time.monotonic() - _lost.get(engine, -math.inf) < seconds


def storable(value: Any) -> Any:
    """Return a JSON value without what PostgreSQL refuses in texts: NUL becomes U+FFFD, a lone surrogate `?`."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list | tuple) else value
