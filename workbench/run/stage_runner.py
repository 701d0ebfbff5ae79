"""Runs one stage of a run headlessly: notebook, report, proof, record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workbench.base.errors import LeaseLost, NotebookFailed, WorkbenchError, is_transient
from workbench.base.logs import in_run
from workbench.base.redaction import redacted
from workbench.notebook.attempt_files import notebook_of, report_of
from workbench.notebook.execute import ExecutionOptions, execute_notebook
from workbench.notebook.executed_notebook import amend
from workbench.notebook.report import render_report
from workbench.notebook.results import CellStatus, NotebookError, NotebookOutcome
from workbench.run.completion import begin_attempt, record_stage, verified_manifest
from workbench.run.database_sessions import application_of
from workbench.run.resources import Resources
from workbench.stage.artefacts import Counted, Manifest, RunFolder
from workbench.stage.pipeline import Stage
from workbench.stage.progress import RECORDS
from workbench.stage.run_parameters import RunParameters
from workbench.state.events import Event, EventType
from workbench.state.failpoints import reach
from workbench.state.lease import Watch
from workbench.state.runs import OwnedRun
from workbench.state.states import StageStatus

log = logging.getLogger(__name__)
_PROGRESS_EVERY_SECONDS = 0.5
_SOURCE_LENGTH = 200


@dataclass(frozen=True)
class RunAtWork:
    """A claimed run: the right to write about it, its parameters and folder, its resources and watch."""

    run: OwnedRun
    parameters: RunParameters
    folder: RunFolder
    resources: Resources
    watch: Watch


def run_stage(work: RunAtWork, stage: Stage, may_retry: Callable[[str], bool]) -> Manifest:
    """Execute the stage's notebook and record its end; returns the verified manifest.

    `may_retry` returns for an exception's class name whether another attempt will follow. Raises `NotebookFailed`,
    `ManifestBroken`, `ConservationBroken`, `LeaseLost`.
    """
    with in_run(pipeline_id=work.run.pipeline_id, stage=stage.name):
        attempt = work.run.stage_started(stage.name)
        log.info("stage started", extra={"attempt": attempt})
        started = time.monotonic()
        reach("stage_started", stage.name)
        try:
            manifest = _attempt(work, stage, attempt)
        except LeaseLost:
            raise
        except BaseException as error:
            _record_failure(work, stage, error, may_retry)
            raise
        seconds = time.monotonic() - started
        work.resources.metrics.stage_completed(stage.name, seconds, manifest)
        log.info("stage completed", extra={"seconds": round(seconds, 3), "counts": manifest.counts})
        return manifest


def _attempt(work: RunAtWork, stage: Stage, attempt: int) -> Manifest:
    target = notebook_of(begin_attempt(work.folder, stage.name), attempt)
    outcome = _execute(work, stage, target)
    reach("notebook_executed", stage.name)
    _report(target)
    if outcome.error is not None:
        raise _failure(stage, outcome, outcome.error)
    manifest = _proven(work, stage, target)
    reach("manifest_verified", stage.name)
    record_stage(work.run, work.folder, manifest)
    reach("stage_completed", stage.name)
    return manifest


def _proven(work: RunAtWork, stage: Stage, notebook: Path) -> Manifest:
    """Return the verified manifest with the fingerprint of what the result depends on.

    If verification fails, the notebook is marked as failed, too, though each of its cells ended well.
    """
    try:
        return _with_fingerprint(work, stage, verified_manifest(work.folder, stage.name))
    except Exception as error:
        _tell_notebook(notebook, error)
        raise


def _tell_notebook(notebook: Path, error: Exception) -> None:
    failure = NotebookError(CellStatus.FAILED, None, "", type(error).__name__, redacted(str(error)))
    try:
        amend(notebook, failure)
    except OSError as problem:
        log.warning("notebook not amended", extra={"error_type": type(problem).__name__})


def _report(notebook: Path) -> None:
    """Render the report if there is a notebook and room on the disk; a missing report fails no stage."""
    try:
        render_report(notebook, report_of(notebook))
    except OSError as error:
        log.warning("report not written", extra={"error_type": type(error).__name__})


def _with_fingerprint(work: RunAtWork, stage: Stage, manifest: Manifest) -> Manifest:
    fingerprint = work.resources.code.fingerprint(stage, work.parameters, manifest.inputs)
    marked = manifest.model_copy(update={"fingerprint": fingerprint})
    marked.write(work.folder.stage(stage.name))
    return marked


def _execute(work: RunAtWork, stage: Stage, target: Path) -> NotebookOutcome:
    """Execute the notebook; sessions of a kernel that did not end well are ended, too."""
    options = _options(work, stage)
    source = work.resources.settings.notebooks / stage.notebook
    ended_well = False
    try:
        outcome = execute_notebook(source, target, _injected(work, stage), options)
        ended_well = outcome.completed
    finally:
        if not ended_well:
            work.resources.end_remains(options.environment)
    return outcome


def _injected(work: RunAtWork, stage: Stage) -> dict[str, Any]:
    return {"pipeline_id": work.run.pipeline_id, **work.parameters.for_stage(stage.name).model_dump()}


def _options(work: RunAtWork, stage: Stage) -> ExecutionOptions:
    application = application_of(work.run.pipeline_id, work.run.attempt)
    return ExecutionOptions(
        deadline_seconds=work.parameters.stage_timeout,
        environment=work.resources.environment(application, stage.name, work.parameters, work.watch.stop),
        observer=StageObserver(work, stage),
        kernels=work.resources.kernels,
        cancel=work.watch.stop,
        kill=work.watch.kill,
    )


def _failure(stage: Stage, outcome: NotebookOutcome, error: NotebookError) -> NotebookFailed:
    where = f"cell {error.number}, " if error.number else ""
    message = redacted(f"stage {stage.name}, {where}{error.exception}: {error.value}".strip())
    record = asdict(error) | {"traceback": redacted(error.traceback), "value": redacted(error.value)}
    record["cell"] = record.pop("number")
    return NotebookFailed(message, error.exception, outcome.status.value, record)


def _record_failure(work: RunAtWork, stage: Stage, error: BaseException, may_retry: Callable[[str], bool]) -> None:
    name = exception_name(error)
    status = StageStatus.CANCELLED if is_cancelled(work, error) else StageStatus.FAILED
    if isinstance(error, WorkbenchError):
        error.stage = stage.name
    retrying = status is StageStatus.FAILED and may_retry(name)
    counted = Counted.read(work.folder.stage(stage.name))
    record = error_record(error) | {"stage": stage.name}
    work.run.stage_ended_badly(stage.name, status, record, counted.counts, retrying=retrying)
    work.resources.metrics.stage_failed(stage.name, name, counted)
    log.warning("stage ended badly", extra={"error_type": name, "stage_status": status.value})


def is_cancelled(work: RunAtWork, error: BaseException) -> bool:
    """Return whether a stage that ended with this error was cancelled, not failed."""
    if isinstance(error, NotebookFailed):
        return error.status == CellStatus.CANCELLED
    return work.watch.stop.is_set()


def exception_name(error: BaseException) -> str:
    """Return the error's class name; of a failed notebook that of the cell's exception."""
    return error.exception if isinstance(error, NotebookFailed) else type(error).__name__


def error_record(error: BaseException) -> dict[str, Any]:
    """Return an error as JSON for tables, events and page: name, message and stage.

    Of a notebook also cell (its number), source, exception, value, traceback, and kernel (code, signal, peak_bytes).
    """
    record: dict[str, Any] = {"name": exception_name(error), "message": redacted(str(error))}
    if isinstance(error, WorkbenchError):
        record["stage"] = error.stage
    if isinstance(error, NotebookFailed):
        record |= error.record
    return {key: value for key, value in record.items() if value not in (None, "")}


def worth_retrying(name: str) -> bool:
    """Return whether the error of this class name is transient: connection lost, kernel killed."""
    return is_transient(name) or name == "KernelDied"


@dataclass
class StageObserver:
    """Records cells as events of the run, and the stage's progress.

    `LeaseLost` passes through: the kernel is killed then, because another process has ended the run.
    """

    work: RunAtWork
    stage: Stage
    cells: int = 0
    saved_at: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)

    def cell_started(self, number: int, total: int, source_head: str) -> None:
        """Record the event, and where the stage is."""
        data = {"cell": number, "cells": total, "source": source_head[:_SOURCE_LENGTH]}
        self._record(Event(EventType.CELL_STARTED, data, self.stage.name))
        reach("cell_started", self.stage.name)
        self.progress = {}
        self._note({"cell": number, "cells": total}, now=True)

    def cell_progress(self, number: int, done: int, total: int | None, unit: str) -> None:
        """Show what is done, at most twice a second; `records` only where records are what is counted."""
        counted = {"records": done if unit == RECORDS else None, "done": done, "total": total, "unit": unit}
        self._note({"cell": number, **counted}, now=done == total)

    def cell_output(self, number: int, text: str) -> None:
        """Do nothing: the notebook keeps outputs, events carry none."""

    def cell_completed(self, number: int, seconds: float) -> None:
        """Record the event."""
        data = {"cell": number, "seconds": round(seconds, 3)}
        self._record(Event(EventType.CELL_COMPLETED, data, self.stage.name))

    def cell_failed(self, number: int, error: NotebookError) -> None:
        """Record the event with what went wrong."""
        data = {"cell": number, "status": error.status.value, "name": error.exception, "message": redacted(error.value)}
        self._record(Event(EventType.CELL_FAILED, data, self.stage.name))

    def _record(self, event: Event) -> None:
        self.work.run.record(event)

    def _note(self, progress: Mapping[str, Any], *, now: bool) -> None:
        self.progress.update(progress)
        if now or time.monotonic() - self.saved_at >= _PROGRESS_EVERY_SECONDS:
            self.saved_at = time.monotonic()
            self.work.run.note_progress(self.stage.name, self.progress)
