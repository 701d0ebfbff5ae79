"""Reach PostgreSQL: the server DATABASE_URL names, else the embedded one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg2
from psycopg2.extensions import connection as Connection
from psycopg2.extensions import make_dsn

from workbench.base import connection_uri
from workbench.base.connection_uri import CLIENT_CHECK, place_of, shown
from workbench.base.errors import InvalidSetting, ServiceUnavailable
from workbench.base.redaction import redacted
from workbench.base.settings import Settings
from workbench.services import embedded, machine_requirements

log = logging.getLogger(__name__)
OLDEST, NEWEST = 15, 18
_CONNECT_SECONDS = 5
_SESSION = """
select
    current_setting('server_encoding'), current_setting('transaction_read_only'), pg_is_in_recovery(),
    current_schema(), (select source from pg_settings where name = %s)
"""


@contextmanager
def held(settings: Settings) -> Iterator[str]:
    """Yield a libpq URI of a database that answers, for as long as the block lasts.

    Raises `ServiceUnavailable` when it cannot be reached or started, `InvalidSetting` when it does not fit.
    """
    if settings.database_url is not None:
        yield checked(settings.database_url.get_secret_value())
        return
    machine_requirements.check_user("PostgreSQL", "DATABASE_URL")
    connection_uri.forget_variables(os.environ, passing=frozenset({"PGAPPNAME"}))
    with embedded.held("postgres", settings.home) as state:
        yield checked(str(state.url))


def checked(url: str) -> str:
    """Return `url` as a libpq URI whose sessions depend on it alone, after a first session has shown a usable database.

    Variables of libpq that would change a session are removed from this process's environment. Raises
    `ServiceUnavailable`, and `InvalidSetting` for another version, another encoding than UTF-8, a database that takes
    no writes, and a pooler that does not keep what a session sets; no message holds a password.
    """
    if removed := connection_uri.forget_variables(os.environ):
        log.info("libpq's environment variables are ignored beside DATABASE_URL", extra={"variables": removed})
    plain = connection_uri.plain(url)
    with closing(_session(connection_uri.complete(plain))) as connection:
        _check_version(connection, plain)
        _check_session(connection, plain)
        return connection_uri.complete(plain, _major_version(connection))


def _session(url: str) -> Connection:
    try:
        return _connect(url)
    except psycopg2.Error as error:
        _refuse_without_options(url)
        advice = "start it or correct DATABASE_URL"
        if "connection slots" in str(error) or "too many connections" in str(error):
            advice = "end other sessions or raise the limit of the server, the database or the role"
        reason = redacted(" ".join(str(error).split()))
        raise ServiceUnavailable(f"PostgreSQL at {place_of(url)}: {reason}; {advice}") from None


def _refuse_without_options(url: str) -> None:
    """Raise `InvalidSetting` when a connection opens without our session settings, and not with them."""
    with suppress(psycopg2.Error), closing(_connect(url, options="")) as connection:
        _check_version(connection, url)
        try:
            _connect(url).close()
        except psycopg2.Error:
            raise _no_sessions(url) from None


def _connect(url: str, **parameters: str) -> Connection:
    return psycopg2.connect(make_dsn(url, connect_timeout=_CONNECT_SECONDS, **parameters))


def _no_sessions(url: str) -> InvalidSetting:
    return InvalidSetting(
        f"DATABASE_URL: {place_of(url)} does not keep a session's settings, as a connection pooler such as PgBouncer "
        "does not; name the port of PostgreSQL itself"
    )


def _major_version(connection: Connection) -> int:
    return connection.server_version // 10_000


def _check_version(connection: Connection, url: str) -> None:
    version = _major_version(connection)
    if not OLDEST <= version <= NEWEST:
        raise InvalidSetting(f"DATABASE_URL: PostgreSQL {OLDEST} to {NEWEST} is needed, {place_of(url)} has {version}")


def _check_session(connection: Connection, url: str) -> None:
    """Raise `InvalidSetting` for a session in which a run would fail or give wrong results."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_SESSION, (CLIENT_CHECK,))
        encoding, read_only, is_standby, schema, source = cursor.fetchall()[0]
    if source != "client":
        raise _no_sessions(url)
    if encoding != "UTF8":
        raise InvalidSetting(
            f"DATABASE_URL: database {shown(url)} is encoded in {encoding}, which cannot hold every text; "
            "create another one with `create database … encoding 'UTF8' template template0`"
        )
    if read_only == "on":
        why = "is a standby" if is_standby else "takes no writes"
        raise InvalidSetting(f"DATABASE_URL: database {shown(url)} {why}; name a server that takes writes")
    if schema is None:
        raise InvalidSetting(
            f"DATABASE_URL: database {shown(url)}: the role's search_path names no schema that it may use; "
            "`alter role … set search_path = public`"
        )
