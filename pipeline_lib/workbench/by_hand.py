"""Follows a stage that a person steps through: what its cells do is what the database says.

As long as the run is open (pending: it was begun in a notebook), the stage is running from the cell that opens it,
failed by a cell that raises, completed by the cell that finishes it, and cancelled when the kernel is left before.
A run that has ended stays as it is: only a stage finished anew is recorded, for until then its old result counts.
"""

from __future__ import annotations

import atexit
import logging
import time
from dataclasses import dataclass
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import HTML, display
from sqlalchemy.exc import DBAPIError

from pipeline_lib.errors import RunStateError, WorkbenchError
from pipeline_lib.parameters import StageName
from pipeline_lib.redaction import redacted
from pipeline_lib.tracking import queries
from pipeline_lib.tracking.runs import OwnedRun
from pipeline_lib.tracking.states import RunStatus, StageStatus

log = logging.getLogger(__name__)
_WORTH_SHOWING = 0.5
_present: list[StageByHand] = []


@dataclass
class StageByHand:
    """The right to tell what becomes of one stage; at most one per kernel is told about."""

    run: OwnedRun
    stage: StageName
    is_open: bool
    began: float = 0.0

    def started(self) -> None:
        """Record the start, if the run is open, and follow the cells from now on."""
        leave()
        if self.is_open:
            self.run.stage_started(self.stage, interactive=True)
        _present.append(self)
        shell = get_ipython()
        if shell is not None:
            shell.events.register("pre_run_cell", self._cell_began)
            shell.events.register("post_run_cell", self._cell_ended)

    def finishing(self) -> None:
        """Make the stage one that was done by hand, so that its completion can be recorded."""
        if not self.is_open:
            self.run.stage_started(self.stage, interactive=True)
        self.is_open = False

    def ended(self, status: StageStatus, name: str, message: str) -> None:
        """Record that a cell raised, or that the kernel is left; nothing, once the stage is done."""
        if not self.is_open:
            return
        self.is_open = status is StageStatus.FAILED
        told = redacted(f"stage {self.stage}, by hand, {name}: {message}")
        error = {"name": name, "message": told, "stage": self.stage.value, "interactive": True}
        try:
            self.run.stage_ended_badly(self.stage, status, error)
        except (WorkbenchError, DBAPIError) as problem:
            log.warning("stage by hand not recorded", extra={"error_type": type(problem).__name__})

    def forget(self) -> None:
        """Follow no more cells."""
        shell = get_ipython()
        if shell is not None:
            shell.events.unregister("pre_run_cell", self._cell_began)
            shell.events.unregister("post_run_cell", self._cell_ended)

    def _cell_began(self, _info: Any) -> None:
        self.began = time.monotonic()

    def _cell_ended(self, result: Any) -> None:
        seconds = time.monotonic() - self.began
        if self.began and seconds >= _WORTH_SHOWING:
            display(HTML(f'<small style="opacity:.6">{seconds:,.1f} s</small>'))
        error = result.error_in_exec
        if error is not None:
            status = StageStatus.CANCELLED if isinstance(error, KeyboardInterrupt) else StageStatus.FAILED
            self.ended(status, type(error).__name__, str(error))


def stage_by_hand(run: queries.Row, owned: OwnedRun, stage: StageName) -> StageByHand:
    """Return the right to step through a stage; raises `RunStateError` while a process works the run."""
    if run["lease_owner"] is not None:
        raise RunStateError(f"run {run['id']} is {run['status']} elsewhere: wait for its end, or choose another run")
    return StageByHand(owned, stage, is_open=run["status"] == RunStatus.PENDING)


def leave() -> None:
    """Give up the stage that this kernel has open, if any: it was not finished."""
    while _present:
        present = _present.pop()
        present.forget()
        present.ended(StageStatus.CANCELLED, "Left", "left before it was finished")


atexit.register(leave)
