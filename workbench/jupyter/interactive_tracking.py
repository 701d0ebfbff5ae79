"""Records a stage that a person steps through: the database says what its cells do.

The stage is running from the cell that opens it, failed by a cell that raises, completed by the cell that finishes it,
and cancelled when the kernel is left before; a stage that has failed stays failed. Opening it gives up its result and
those of later stages. A completed run is never changed: a cell that would is stopped.
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

from workbench.base.errors import LeaseLost, WorkbenchError
from workbench.base.redaction import redacted
from workbench.jupyter.kernel_services import kernel_services
from workbench.run.completion import announcement, begin_attempt, verified_manifest
from workbench.stage.artefacts import Counted, Manifest, RunFolder
from workbench.stage.pipeline import StageName
from workbench.state import queries
from workbench.state.interactive_stages import begin_stage, end_stage, finish_stage, is_at_work, leave_failed_stage
from workbench.state.runs import OwnedRun
from workbench.state.states import StageStatus

log = logging.getLogger(__name__)
_WORTH_SHOWING = 0.5
_LEFT = "Left"
_STAGE = "stage"


@dataclass
class StageByHand:
    """The right to record what becomes of one stage; a kernel has at most one stage open."""

    run: OwnedRun
    stage: StageName
    folder: RunFolder
    attempt: int = 0
    is_finished: bool = False
    has_failed: bool = False
    began: float = 0.0
    may_go_on: bool = False

    def started(self) -> None:
        """Record the start, and follow the cells from now on; raises `IllegalTransition` when the run is completed."""
        services = kernel_services()
        services.close(_STAGE)
        self._begin()
        services.keep_open(_STAGE, self)
        atexit.register(services.close, _STAGE)
        shell = get_ipython()
        if shell is not None:
            shell.events.register("pre_run_cell", self._cell_began)
            shell.events.register("post_run_cell", self._cell_ended)

    def makes(self) -> None:
        """Check that the running cell may make data; in a finished stage, begin a new attempt if the run allows it.

        Raises `RunStateError` before a cell overwrites what a completed run, or another kernel's attempt, has made.
        """
        if self.may_go_on:
            return
        if self.is_finished:
            self._begin()
        with self.run.engine.connect() as connection:
            if not is_at_work(connection, self.run.pipeline_id, self.stage, self.attempt):
                raise LeaseLost(f"stage {self.stage} was opened again elsewhere, or its run has ended; open it again")
        self.may_go_on = True

    def finished(self, manifest: Manifest) -> None:
        """Write, verify and record the stage's manifest; doing so again with the same result changes nothing."""
        if self.is_finished:
            if self._recorded() == manifest:
                return
            self._begin()
        here = self.folder.stage(self.stage)
        manifest.write(here)
        verified = verified_manifest(self.folder, self.stage)
        finish_stage(self.run, self.attempt, verified, announcement(self.folder, verified))
        self.is_finished, self.may_go_on = True, False

    def ended(self, status: StageStatus, name: str, message: str) -> None:
        """Record that a cell raised, or that the kernel is left; nothing, once the stage is done.

        What a cell has raised is what became of the stage, also when the kernel is left afterwards.
        """
        if self.is_finished:
            return
        shown = redacted(f"stage {self.stage}, by hand, {name}: {message}")
        error = {"name": name, "message": shown, "stage": self.stage, "interactive": True, "status": status.value}
        counts = Counted.read(self.folder.stage(self.stage)).counts
        try:
            if name == _LEFT and self.has_failed:
                leave_failed_stage(self.run, self.stage, self.attempt)
                return
            end_stage(self.run, self.stage, self.attempt, error, counts)
            self.has_failed = status is StageStatus.FAILED
        except (WorkbenchError, DBAPIError) as problem:
            log.warning("stage by hand not recorded", extra={"error_type": type(problem).__name__})

    def _begin(self) -> None:
        self.attempt = begin_stage(self.run, self.stage)
        begin_attempt(self.folder, self.stage)
        self.is_finished = self.has_failed = False

    def _recorded(self) -> Manifest | None:
        rows = queries.stage_rows(self.run.engine, self.run.pipeline_id)
        manifest = next(row["manifest"] for row in rows if row["name"] == self.stage)
        return Manifest.model_validate(manifest) if manifest else None

    def close(self) -> None:
        """Give up the stage, and follow no more cells: unless it is finished, it is recorded as left."""
        shell = get_ipython()
        if shell is not None:
            shell.events.unregister("pre_run_cell", self._cell_began)
            shell.events.unregister("post_run_cell", self._cell_ended)
        self.ended(StageStatus.CANCELLED, _LEFT, "left before it was finished")

    def _cell_began(self, _info: Any) -> None:
        self.began, self.may_go_on = time.monotonic(), False

    def _cell_ended(self, result: Any) -> None:
        seconds = time.monotonic() - self.began
        if self.began and seconds >= _WORTH_SHOWING:
            display(HTML(f'<small style="opacity:.6">{seconds:,.1f} s</small>'))
        error = result.error_in_exec
        if error is not None:
            status = StageStatus.CANCELLED if isinstance(error, KeyboardInterrupt) else StageStatus.FAILED
            self.ended(status, type(error).__name__, str(error))


def leave() -> None:
    """Give up the stage that this kernel has open, if any."""
    kernel_services().close(_STAGE)
