"""Reach Spark Connect: the server SPARK_REMOTE names, else the embedded one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from workbench.base.errors import ServiceUnavailable
from workbench.base.settings import Settings
from workbench.services import embedded, machine
from workbench.services.processes import accepts_connections

_PORT = 15002


@contextmanager
def held(settings: Settings, given_up: threading.Event | None = None) -> Iterator[str]:
    """Yield a Spark Connect URL (`sc://…`, it may hold a token) that accepts connections, while the block lasts.

    `given_up`: set by another thread when nobody waits for the start any more.
    Raises `ServiceUnavailable` when it cannot be reached or started.
    """
    if settings.spark_remote is not None:
        yield checked(settings.spark_remote.get_secret_value())
        return
    with embedded.held("spark", settings.home, given_up) as state:
        yield str(state.url)


def check_machine(settings: Settings) -> None:
    """Raise `InvalidSetting` when the embedded server, if it is wanted, could not run on this machine."""
    if settings.spark_remote is None:
        machine.check_user("Spark", "SPARK_REMOTE")
        machine.check_open_files("Spark", "SPARK_REMOTE")
        machine.check_libraries(settings.home, "Spark", "SPARK_REMOTE")


def checked(url: str) -> str:
    """Return `url` when something listens there; the error names host and port, never the token."""
    host, port = place_of(url)
    if not accepts_connections(host, port, seconds=5):
        raise ServiceUnavailable(f"Spark at {host}:{port}: nobody answers; start it or mend SPARK_REMOTE")
    return url


def place_of(url: str) -> tuple[str, int]:
    """Return host and port of a Spark Connect URL."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or _PORT
