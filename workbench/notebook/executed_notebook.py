"""The notebook while it is executed: each cell marked by what really happened, saved whole each time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from workbench.base.durable_files import written_whole
from workbench.notebook.attempt_files import report_of
from workbench.notebook.report import render_report
from workbench.notebook.results import CellOutcome, CellStatus, NotebookError, NotebookOutcome

_SAVE_SECONDS = 1.0
# A save may take this share of the time; with large outputs it becomes rarer by itself.
_SAVE_SHARE = 0.05
_PAPERMILL_STATUS = {
    CellStatus.RUNNING: "running",
    CellStatus.COMPLETED: "completed",
    CellStatus.NOT_RUN: "pending",
    CellStatus.SKIPPED: "pending",
}
_UNSAVED = "The cell was completed; what it showed was not saved any more.\n"


class NotebookDocument:
    """A notebook and the file it is saved in (None: not saved). Nothing is written before the first `save`."""

    def __init__(self, notebook: NotebookNode, target: Path | None) -> None:
        self.notebook = notebook
        self._target = target
        self._started: dict[int, float] = {}
        self._saved_at = self._save_cost = 0.0
        self._identity: tuple[int, int] | None = None
        notebook.metadata["workbench"] = {"status": CellStatus.RUNNING, "started_at": _now()}
        for index, cell in self.code_cells():
            cell.outputs = []
            cell.execution_count = None
            self._mark(index, CellStatus.NOT_RUN)

    @property
    def total(self) -> int:
        """How many cells there are, text included."""
        return len(self.notebook.cells)

    def code_cells(self) -> Iterator[tuple[int, NotebookNode]]:
        """Yield (index from 0, cell) of each code cell."""
        return ((index, cell) for index, cell in enumerate(self.notebook.cells) if cell.cell_type == "code")

    def note_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Record the parameters as given, in strict JSON."""
        values = {name: _json_safe(value) for name, value in parameters.items()}
        self.notebook.metadata["workbench"]["parameters"] = values
        self.notebook.metadata["papermill"]["parameters"] = values

    def begin(self, index: int) -> None:
        self._started[index] = time.monotonic()
        self._mark(index, CellStatus.RUNNING)
        self.notebook.cells[index].metadata["workbench"]["started_at"] = _now()

    def end(self, index: int, status: CellStatus) -> float:
        """Mark the cell; returns its seconds."""
        seconds = time.monotonic() - self._started[index] if index in self._started else 0.0
        self._mark(index, status, seconds)
        return seconds

    def outcomes(self) -> tuple[CellOutcome, ...]:
        """Return one outcome per code cell, in order."""
        return tuple(
            CellOutcome(
                number=index + 1,
                cell_id=cell.get("id", ""),
                status=CellStatus(cell.metadata["workbench"]["status"]),
                seconds=cell.metadata["workbench"]["seconds"],
                source=cell.source,
            )
            for index, cell in self.code_cells()
        )

    def conclude(self, outcome: NotebookOutcome) -> None:
        """Write the end into the notebook's metadata; `save` puts it on disk."""
        self.notebook.metadata["workbench"] |= {
            "status": outcome.status,
            "seconds": round(outcome.seconds, 3),
            "ended_at": _now(),
            "kernel": asdict(outcome.kernel),
            "error": _error_record(outcome.error),
        }
        self.notebook.metadata["papermill"] |= {
            "start_time": self.notebook.metadata["workbench"]["started_at"],
            "end_time": _now(),
            "duration": round(outcome.seconds, 3),
            "exception": None if outcome.completed else True,
        }

    def save_sometimes(self) -> None:
        """Save if the last save is long enough ago for this one to be cheap."""
        if time.monotonic() - self._saved_at >= max(_SAVE_SECONDS, self._save_cost / _SAVE_SHARE):
            self.save()

    def save(self) -> None:
        """Save now, whole or not at all; raises what the disk raises.

        A file that another process has written since our last save is left unchanged: it is newer than ours.
        """
        if self._target is None or self._identity not in (None, _identity(self._target)):
            return
        began = time.monotonic()
        # A lone surrogate in an output cannot be UTF-8; as \udXXX it is the same JSON string.
        content = nbformat.writes(self.notebook, version=4).encode("utf-8", "backslashreplace")
        try:
            with written_whole(self._target) as file:
                file.write(content)
            self._identity = _identity(self._target)
        finally:
            self._saved_at = time.monotonic()
            self._save_cost = self._saved_at - began

    def forget_outputs(self) -> None:
        """Drop the outputs: on a full disk the statuses of the cells may still fit."""
        for _, cell in self.code_cells():
            cell.outputs = []

    def _mark(self, index: int, status: CellStatus, seconds: float = 0.0) -> None:
        metadata = self.notebook.cells[index].metadata
        metadata["workbench"] = {**metadata.get("workbench", {}), "status": status, "seconds": round(seconds, 3)}
        metadata["papermill"] = {
            **papermill_mark(status),
            "duration": round(seconds, 3),
            "start_time": metadata["workbench"].get("started_at"),
            "end_time": None if status in (CellStatus.NOT_RUN, CellStatus.RUNNING) else _now(),
        }


def papermill_mark(status: CellStatus) -> dict[str, Any]:
    """Return a cell's status in papermill's words, which are fewer."""
    exception = None if status is CellStatus.NOT_RUN else status not in _PAPERMILL_STATUS
    return {"status": _PAPERMILL_STATUS.get(status, "failed"), "exception": exception}


def _error_record(error: NotebookError | None) -> dict[str, Any] | None:
    return asdict(error) if error else None


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the identity of a file's version: every save makes a new one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _json_safe(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items()}
    return [_json_safe(item) for item in value] if isinstance(value, list) else value


def _now() -> str:
    return datetime.now(UTC).isoformat()


def amend(notebook: Path, error: NotebookError, cells: Mapping[int, CellStatus] | None = None) -> None:
    """Write `error` into a saved notebook as its end, and render its report again.

    `cells` are the statuses that differ from what was saved, by number from 1. Raises `OSError`, and `ValueError` for
    a file that is no executed notebook.
    """
    document = nbformat.read(notebook, as_version=4)
    for number, status in (cells or {}).items():
        _mark(document.cells[number - 1], status)
    end = {"status": error.status, "error": asdict(error)}
    document.metadata["workbench"] = {**document.metadata.get("workbench", {}), **end}
    document.metadata.setdefault("papermill", {})["exception"] = True
    with written_whole(notebook) as file:
        file.write(nbformat.writes(document, version=4).encode("utf-8", "backslashreplace"))
    render_report(document, report_of(notebook))


def _mark(cell: NotebookNode, status: CellStatus) -> None:
    if cell.metadata.get("workbench", {}).get("status") == status:
        return
    cell.metadata["workbench"] = {**cell.metadata.get("workbench", {}), "status": status}
    cell.metadata["papermill"] = {**cell.metadata.get("papermill", {}), **papermill_mark(status)}
    if status is CellStatus.COMPLETED and not cell.outputs:
        cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text=_UNSAVED)]


def amend_after_crash(notebook: Path, reported: Mapping[int, CellStatus], exception: str, reason: str) -> None:
    """Amend the notebook of a process that has died; `reported` are the statuses of its cells by number.

    The process reported them as events, which are newer than its last save. A cell without an event has not run, or
    was skipped on purpose.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    code = {number: cell for number, cell in enumerate(cells, 1) if cell.cell_type == "code"}
    statuses = {number: reported.get(number, _saved(cell)) for number, cell in code.items()}
    cut = next((number for number, status in statuses.items() if status is CellStatus.KILLED), None)
    source = cells[cut - 1].source if cut else ""
    amend(notebook, NotebookError(CellStatus.KILLED, cut, source, exception, reason), statuses)


def _saved(cell: NotebookNode) -> CellStatus:
    """Return what the last save says; a cell that a person has added since has not run."""
    saved = CellStatus(cell.metadata.get("workbench", {}).get("status", CellStatus.NOT_RUN))
    return CellStatus.NOT_RUN if saved is CellStatus.RUNNING else saved
