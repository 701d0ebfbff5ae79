"""Translates what PostgreSQL's two drivers raise: a lost connection is one thing, a statement that failed another."""

from __future__ import annotations

import psycopg2
from adbc_driver_manager import OperationalError as AdbcOperationalError

from workbench.base.error_text import one_line
from workbench.base.errors import ServiceUnavailable, StatementFailed, WorkbenchError
from workbench.base.redaction import redacted

DRIVER_ERRORS = (psycopg2.OperationalError, psycopg2.InterfaceError, AdbcOperationalError)
_LOST = ("08", "57P")  # connection exceptions; a server that shuts down, restarts or ends sessions
_OTHERS_IN_THE_WAY = ("40", "53300", "55P03")  # deadlocks, too many connections, locks


def translated(error: Exception) -> WorkbenchError:
    """Return the error to raise instead of one of `DRIVER_ERRORS`: transient where another attempt may end well."""
    reason = redacted(one_line(error))
    state = _sqlstate(error)
    if not state or state.startswith(_LOST):
        return ServiceUnavailable(f"no connection to PostgreSQL: {reason}; `workbench doctor` tells more")
    if state.startswith(_OTHERS_IN_THE_WAY):
        return ServiceUnavailable(f"PostgreSQL, in use by others, gave up a statement: {reason}")
    return StatementFailed(f"PostgreSQL gave up a statement: {reason} (SQLSTATE {state}); its log tells more")


def _sqlstate(error: Exception) -> str:
    return getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
