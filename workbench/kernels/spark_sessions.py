"""A run's access to Spark: a server that is reached or started, and sessions that end with their kernels."""

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
_END_SECONDS = 10.0
_LOOK_SECONDS = 0.1


class SparkAccess:
    """Starts the server in the background, at once or for the first `new_session`, and again after it has died."""

    def __init__(self, settings: Settings, *, at_once: bool = True) -> None:
        self._settings = settings
        self._held = ExitStack()
        self._given_up = threading.Event()
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spark")
        self._server: Future[str] = Future()
        if at_once:
            self._server = self._starter.submit(self._reach)
        else:
            self._server.set_exception(ServiceUnavailable("Spark has not been started"))

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
                raise ServiceUnavailable(f"Spark has not started within {seconds:g} s, the stage's time limit")
        return with_session(self._server.result(), str(uuid.uuid4()))

    def end_session(self, url: str) -> None:
        """Interrupt the queries of a dead kernel's session and close it, within a time limit; logs a failure."""
        if not accepts_connections(*spark.place_of(url)):
            return
        command = [sys.executable, "-P", spark_shutdown.__file__]
        environment = passed_on(os.environ) | {"SPARK_REMOTE": url}
        try:
            done = subprocess.run(command, env=environment, capture_output=True, timeout=_END_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            log.warning("spark session not ended", extra={"reason": f"no answer for {_END_SECONDS:g} s"})
            return
        if done.returncode:
            log.warning("spark session not ended", extra={"reason": done.stderr.decode(errors="replace")[-500:]})

    def close(self) -> None:
        """Release the server; a start that has not finished is given up."""
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
def spark_access(settings: Settings, *, at_once: bool = True) -> Iterator[SparkAccess]:
    """Yield access to Spark, started at once or when first asked; an embedded server stops after its last user."""
    if at_once:
        spark.check_machine(settings)
    access = SparkAccess(settings, at_once=at_once)
    try:
        yield access
    finally:
        access.close()


def with_session(url: str, session: str) -> str:
    """Return a Spark Connect URL with this session id, by which the run can end the session; an id in the URL stays."""
    if _SESSION in url:
        return url
    separator = ";" if "/;" in url else "/;"
    return f"{url.rstrip('/')}{separator}{_SESSION}{session}"
