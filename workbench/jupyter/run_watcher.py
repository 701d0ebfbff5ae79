"""Follows one run from the tables, as every other watcher does, in a thread beside the kernel's own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from workbench.base.errors import WorkbenchError
from workbench.base.settings import Settings
from workbench.state import queries
from workbench.state.run_document import run_document
from workbench.state.states import TERMINAL

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5


@dataclass
class Sight:
    """What one look at a run shows: its document, the seconds of running stages, the cells told of so far.

    `cells` holds, by stage, one dict per cell: cell (number), source (its head), seconds (None: it is running), failed.
    """

    document: dict[str, Any]
    running_seconds: dict[str, float] = field(default_factory=dict)
    cells: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.document["status"] in TERMINAL


class Watcher:
    """Looks at a run twice a second and shows it, until it has ended, or another watcher takes over."""

    def __init__(self, engine: Engine, settings: Settings, pipeline_id: str, show: Callable[[Sight], None]) -> None:
        self.pipeline_id = pipeline_id
        self._engine = engine
        self._settings = settings
        self._show = show
        self._stopped = threading.Event()
        self._since: dict[str, float] = {}
        self._sequence = 0
        self._cells: dict[str, dict[int, dict[str, Any]]] = {}

    def look(self) -> Sight:
        """Read the run's state now."""
        document = run_document(self._engine, self._settings, self.pipeline_id)
        self._read_events()
        running = [stage["name"] for stage in document["stages"] if stage["status"] == "running"]
        self._since = {name: self._since.get(name, time.monotonic()) for name in running}
        seconds = {name: time.monotonic() - since for name, since in self._since.items()}
        return Sight(document, seconds, self._cells)

    def follow(self) -> None:
        """Start to show the run in a thread of its own, which ends with the run."""
        threading.Thread(target=self._follow, name=f"watch {self.pipeline_id}", daemon=True).start()

    def stop(self) -> None:
        """Show nothing more."""
        self._stopped.set()

    def _follow(self) -> None:
        ended = False
        while not ended and not self._stopped.is_set():
            try:
                sight = self.look()
            except (DBAPIError, WorkbenchError) as error:
                log.warning("run not seen, looking again", extra={"error_type": type(error).__name__})
            else:
                ended = sight.ended
                if not self._stopped.is_set():
                    self._show(sight)
            self._stopped.wait(_LOOK_SECONDS)

    def _read_events(self) -> None:
        for event in queries.events_after(self._engine, self.pipeline_id, self._sequence):
            self._sequence = event.sequence
            if event.type == "stage.started":
                self._cells[event.stage or ""] = {}
            elif event.type.startswith("cell."):
                cell = self._cells.setdefault(event.stage or "", {}).setdefault(event.data["cell"], {"seconds": None})
                cell.update(event.data, failed=event.type == "cell.failed")
