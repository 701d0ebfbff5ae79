"""Errors of the database as one line: its address without a password, and the driver's message."""

from __future__ import annotations

import psycopg2
from adbc_driver_manager import OperationalError as AdbcOperationalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from workbench.base.connection_uri import shown
from workbench.base.error_text import one_line
from workbench.base.errors import ServiceUnavailable, StatementFailed, WorkbenchError
from workbench.base.redaction import redacted
from workbench.base.settings import Settings

DRIVER_ERRORS = (psycopg2.OperationalError, psycopg2.InterfaceError, AdbcOperationalError)
_LOST = ("08", "57P")  # connection exceptions; a server that shuts down, restarts or ends sessions
_CONFLICTS = ("40", "53300", "55P03")  # deadlocks, too many connections, locks


def in_one_line(error: DBAPIError, place: str) -> str:
    """Return the message to show for this error of the database at `place`."""
    more = "; see `workbench doctor`" if isinstance(error, OperationalError | InterfaceError) else ""
    return redacted(f"database {place}: {reason_of(error)}{more}")


def reason_of(error: DBAPIError) -> str:
    """Return the driver's message as one line."""
    return redacted(one_line(error.orig or error))


def place_in(settings: Settings) -> str:
    """Return the database's address from the settings, without its password."""
    given = settings.database_url
    return f"embedded in {settings.home}" if given is None else shown(given.get_secret_value())


def as_unavailable(error: DBAPIError, settings: Settings) -> ServiceUnavailable:
    """Return the error to raise instead of this one, with a message for users."""
    return ServiceUnavailable(in_one_line(error, place_in(settings)))


def translated(error: Exception) -> WorkbenchError:
    """Return the error to raise instead of one of `DRIVER_ERRORS`: transient where another attempt may succeed."""
    reason = redacted(one_line(error))
    state = _sqlstate(error)
    if not state or state.startswith(_LOST):
        return ServiceUnavailable(f"no connection to PostgreSQL: {reason}; see `workbench doctor`")
    if state.startswith(_CONFLICTS):
        return ServiceUnavailable(f"PostgreSQL, in use by others, gave up a statement: {reason}")
    return StatementFailed(f"PostgreSQL gave up a statement: {reason} (SQLSTATE {state}); see its log")


def _sqlstate(error: Exception) -> str:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
