"""Follows one run from the tables, in a thread beside the kernel's own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from workbench.base.errors import WorkbenchError
from workbench.base.settings import Settings
from workbench.state.run_snapshot import RunReader, RunSnapshot

log = logging.getLogger(__name__)
_READ_SECONDS = 0.5


class RunWatcher:
    """Reads a run twice a second and shows it, until the run has ended or the watcher is stopped."""

    def __init__(
        self, engine: Engine, settings: Settings, pipeline_id: str, show: Callable[[RunSnapshot], None]
    ) -> None:
        self.pipeline_id = pipeline_id
        self._engine = engine
        self._reader = RunReader(settings, pipeline_id)
        self._show = show
        self._stopped = threading.Event()

    def start(self) -> None:
        """Show the run from now on, in a thread that ends with the run."""
        threading.Thread(target=self._follow, name=f"watch {self.pipeline_id}", daemon=True).start()

    def stop(self) -> None:
        """Show nothing more."""
        self._stopped.set()

    def _follow(self) -> None:
        ended = False
        while not ended and not self._stopped.is_set():
            try:
                run = self._reader.read(self._engine)
            except (DBAPIError, WorkbenchError) as error:
                log.warning("run not read, trying again", extra={"error_type": type(error).__name__})
            else:
                ended = run.ended
                if not self._stopped.is_set():
                    self._show(run)
            self._stopped.wait(_READ_SECONDS)
