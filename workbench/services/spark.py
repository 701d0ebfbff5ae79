"""Reach Spark Connect: the server SPARK_REMOTE names, else the embedded one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from workbench.base.environment import passed_on
from workbench.base.errors import ServiceUnavailable
from workbench.base.settings import Settings
from workbench.services import embedded, machine_requirements, spark
from workbench.services.processes import accepts_connections

_PORT = 15002
_SECONDS = 30.0


@contextmanager
def held(settings: Settings, given_up: threading.Event | None = None) -> Iterator[str]:
    """Yield a Spark Connect URL (`sc://…`, it may hold a token) that accepts connections, while the block lasts.

    `given_up`: set by another thread to abandon the start.
    Raises `ServiceUnavailable` when it cannot be reached or started.
    """
    if settings.spark_remote is not None:
        yield checked(settings.spark_remote.get_secret_value())
        return
    with embedded.held("spark", settings.home, given_up) as state:
        yield str(state.url)


def check_machine(settings: Settings) -> None:
    """Raise `InvalidSetting` when the embedded server is needed and cannot run on this machine."""
    if settings.spark_remote is None:
        machine_requirements.check_user("Spark", "SPARK_REMOTE")
        machine_requirements.check_open_files("Spark", "SPARK_REMOTE")
        machine_requirements.check_libraries(settings.home, "Spark", "SPARK_REMOTE")


def checked(url: str) -> str:
    """Return `url` when a server listens there; the error names host and port, never the token."""
    host, port = place_of(url)
    if not accepts_connections(host, port, seconds=5):
        raise ServiceUnavailable(f"Spark at {host}:{port}: no server answers; start it or correct SPARK_REMOTE")
    return url


def place_of(url: str) -> tuple[str, int]:
    """Return host and port of a Spark Connect URL."""
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or _PORT


def check_query(url: str) -> None:
    """Raise `ServiceUnavailable` when no answer comes within half a minute; its message holds no token."""
    place, environment = "{}:{}".format(*spark.place_of(url)), passed_on(os.environ) | {"SPARK_REMOTE": url}
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__]
    advice = "see the server's log, or correct SPARK_REMOTE"
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ServiceUnavailable(f"Spark at {place}: no query is answered within {_SECONDS:g} s; {advice}") from None
    if done.returncode:
        raise ServiceUnavailable(f"Spark at {place}: {done.stdout.strip() or 'a query fails'}; {advice}")


def main(url: str) -> None:
    """Run a query; print its error as one line."""
    from pyspark.sql.connect.session import SparkSession

    from workbench.base.error_text import one_line

    try:
        session = SparkSession.builder.remote(url).create()
        session.sql("select 1").collect()
        session.stop()
    except Exception as error:  # noqa: BLE001  whatever the client raises is the finding
        print(one_line(error))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(os.environ["SPARK_REMOTE"])
