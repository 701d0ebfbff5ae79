"""Reach PostgreSQL: the server DATABASE_URL names, else the embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg2

from pipeline_lib.errors import InvalidSetting, ServiceUnavailable
from pipeline_lib.services import embedded
from pipeline_lib.settings import Settings

OLDEST, NEWEST = 15, 18
_CONNECT_SECONDS = 5


@contextmanager
def held(settings: Settings) -> Iterator[str]:
    """Yield a libpq URI of a database that answers, for as long as the block lasts.

    Raises `ServiceUnavailable` when it cannot be reached or started, `InvalidSetting` when its version does not fit.
    """
    if settings.database_url is not None:
        yield checked(settings.database_url.get_secret_value())
        return
    with embedded.held("postgres", settings.home) as state:
        yield checked(str(state.url))


def checked(url: str) -> str:
    """Return `url` as a libpq URI once a connection has shown a usable server."""
    plain = url.replace("postgresql+psycopg2://", "postgresql://", 1)
    version = server_version(plain)
    if not OLDEST <= version <= NEWEST:
        raise InvalidSetting(
            f"DATABASE_URL: PostgreSQL {OLDEST} to {NEWEST} is needed, {place_of(plain)} has {version}"
        )
    return plain


def server_version(url: str) -> int:
    """Return the server's major version; raises `ServiceUnavailable`, which names the place and no password."""
    try:
        connection = psycopg2.connect(url, connect_timeout=_CONNECT_SECONDS)
    except psycopg2.Error as error:
        raise ServiceUnavailable(
            f"PostgreSQL at {place_of(url)}: {_reason(error, url)}; start it or mend DATABASE_URL"
        ) from None
    version: int = connection.server_version // 10_000
    connection.close()
    return version


def place_of(url: str) -> str:
    """Return host:port, or what says that it is a socket; never user or password."""
    parts = urlsplit(url)
    if not parts.hostname:
        return "a unix socket"
    return f"{parts.hostname}:{parts.port or 5432}"


def _reason(error: psycopg2.Error, url: str) -> str:
    text = " ".join(str(error).split())
    password = urlsplit(url).password
    return text.replace(password, "***") if password else text
