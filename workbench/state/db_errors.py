"""Tells trouble with the database in one line: where it is, without a password, and what its driver says."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from workbench.base.connection_uri import shown
from workbench.base.error_text import one_line
from workbench.base.errors import ServiceUnavailable
from workbench.base.redaction import redacted
from workbench.base.settings import Settings


def in_one_line(error: DBAPIError, place: str) -> str:
    """Return what a person is told of this error about the database at `place`."""
    more = "; see `workbench doctor`" if isinstance(error, OperationalError | InterfaceError) else ""
    return redacted(f"database {place}: {reason_of(error)}{more}")


def reason_of(error: DBAPIError) -> str:
    """Return what the driver says, in one line."""
    return redacted(one_line(error.orig or error))


def place_in(settings: Settings) -> str:
    """Return where the settings say that the database is; never its password."""
    given = settings.database_url
    return f"embedded in {settings.home}" if given is None else shown(given.get_secret_value())


def as_unavailable(error: DBAPIError, settings: Settings) -> ServiceUnavailable:
    """Return the error to raise instead of this one, for people."""
    return ServiceUnavailable(in_one_line(error, place_in(settings)))
