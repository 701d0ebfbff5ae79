"""Tells in a saved notebook, and in its report, what became of it after the last save of the process that ran it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from workbench.base.files import written_whole
from workbench.notebook.attempts import report_of
from workbench.notebook.executed_notebook import papermill_mark
from workbench.notebook.report import render_report
from workbench.notebook.results import CellStatus, NotebookError

_UNSAVED = "The cell was completed; what it showed was not saved any more.\n"


def amend(notebook: Path, error: NotebookError, cells: Mapping[int, CellStatus] | None = None) -> None:
    """Write `error` into a saved notebook as its end, whole, and render its report anew.

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


def amend_after_crash(notebook: Path, told: Mapping[int, CellStatus], exception: str, reason: str) -> None:
    """Amend the notebook of a process that has died; `told` is what it told of its cells before, by number.

    That is truer than its last save. A cell nobody told of has not run, or was passed over on purpose.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    truth = {number: told.get(number, _saved(cell)) for number, cell in enumerate(cells, 1) if cell.cell_type == "code"}
    cut = next((number for number, status in truth.items() if status is CellStatus.KILLED), None)
    source = cells[cut - 1].source if cut else ""
    amend(notebook, NotebookError(CellStatus.KILLED, cut, source, exception, reason), truth)


def _saved(cell: NotebookNode) -> CellStatus:
    """Return what the last save says; a cell that a person has added since has not run."""
    saved = CellStatus(cell.metadata.get("workbench", {}).get("status", CellStatus.NOT_RUN))
    return CellStatus.NOT_RUN if saved is CellStatus.RUNNING else saved
