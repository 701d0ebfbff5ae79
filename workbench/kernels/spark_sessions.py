"""A run's way to Spark: a server that answers whenever a stage asks, and sessions that end with their kernels."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager

from workbench.base.environment import passed_on
from workbench.base.errors import RunCancelled, ServiceUnavailable
from workbench.base.settings import Settings
from workbench.kernels import spark_shutdown
from workbench.services import spark
from workbench.services.processes import accepts_connections

log = logging.getLogger(__name__)
_SESSION = "session_id="
_FAREWELL_SECONDS = 10.0
_LOOK_SECONDS = 0.1


class SparkAccess:
    """Starts the server in the background at once, and again, when asked, if that failed or the server has died."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held = ExitStack()
        self._given_up = threading.Event()
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spark")
        self._server: Future[str] = self._starter.submit(self._reach)

    def new_session(self, stop: threading.Event | None = None, seconds: float | None = None) -> str:
        """Return a URL that opens a session of its own, waiting for the server, at most `seconds` or until `stop`.

        Raises `ServiceUnavailable`, and `RunCancelled` when stopped.
        """
        if self._server.done() and not self._answers():
            self._server = self._starter.submit(self._reach)
        deadline = time.monotonic() + (seconds if seconds is not None else math.inf)
        while not wait([self._server], _LOOK_SECONDS).done:
            if stop is not None and stop.is_set():
                raise RunCancelled("cancelled while Spark was starting")
            if time.monotonic() > deadline:
                raise ServiceUnavailable(f"Spark has not started within {seconds:g} s, which is all the stage has")
        return with_session(self._server.result(), str(uuid.uuid4()))

    def end_session(self, url: str) -> None:
        """Interrupt what a dead kernel's session still computes, and close it; bounded, and never a failure itself."""
        if not accepts_connections(*spark.place_of(url)):
            return
        command = [sys.executable, "-P", spark_shutdown.__file__]
        environment = passed_on(os.environ) | {"SPARK_REMOTE": url}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=_FAREWELL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            log.warning("spark session not ended", extra={"reason": f"no answer for {_FAREWELL_SECONDS:g} s"})
            return
        if done.returncode:
            log.warning("spark session not ended", extra={"reason": done.stderr.decode(errors="replace")[-500:]})

    def close(self) -> None:
        """Let go of the server; a start that nobody has waited for is given up."""
        self._given_up.set()
        self._server.cancel()
        self._starter.shutdown(wait=True)
        self._held.close()

    def _reach(self) -> str:
        self._held.close()
        return self._held.enter_context(spark.held(self._settings, self._given_up))

    def _answers(self) -> bool:
        return self._server.exception() is None and accepts_connections(*spark.place_of(self._server.result()))


@contextmanager
def spark_access(settings: Settings) -> Iterator[SparkAccess]:
    """Give access to Spark for the block; what was started stops with its last user."""
    spark.check_machine(settings)
    access = SparkAccess(settings)
    try:
        yield access
    finally:
        access.close()


def with_session(url: str, session: str) -> str:
    """Return a Spark Connect URL with the session's id, which the run so knows too; an id that is there stays."""
    if _SESSION in url:
        return url
    separator = ";" if "/;" in url else "/;"
    return f"{url.rstrip('/')}{separator}{_SESSION}{session}"
