"""The project's notebooks with one of them changed: a cell that misbehaves, or one that is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from workbench.base.settings import NOTEBOOKS
from workbench.stage.pipeline import StageName, stage_named

_FAULT = "fault"


def with_cell(folder: Path, stage: StageName, code: str) -> Path:
    """Copy the notebooks to `folder`, with `code` as a cell right after the one that opens the stage."""
    notebook = _copied(folder, stage)
    document = nbformat.read(notebook, as_version=4)
    opening = next(i for i, cell in enumerate(document.cells) if "open_stage(" in cell.source)
    document.cells.insert(opening + 1, new_code_cell(code, id=_FAULT))
    nbformat.write(document, notebook)
    return folder


def cells_around_fault(executed: NotebookNode) -> tuple[set[str], int, str, set[str]]:
    """Return the statuses of the code cells before the inserted cell, its number and status, and those after it."""
    number = next(number for number, cell in enumerate(executed.cells, 1) if cell.id == _FAULT)
    code = {n: cell.metadata.workbench.status for n, cell in enumerate(executed.cells, 1) if cell.cell_type == "code"}
    before = {status for n, status in code.items() if n < number}
    return before - {"skipped"}, number, code[number], {status for n, status in code.items() if n > number}


def with_last_cell(folder: Path, stage: StageName, code: str) -> Path:
    """Copy the notebooks to `folder`, with `code` instead of the cell that finishes the stage."""
    notebook = _copied(folder, stage)
    document = nbformat.read(notebook, as_version=4)
    finishing = next(cell for cell in document.cells if "stage.finish(" in cell.source)
    finishing.source = code
    nbformat.write(document, notebook)
    return folder


def _copied(folder: Path, stage: StageName) -> Path:
    """Return the stage's notebook in `folder`, with the project's others around it; changed ones stay as they are."""
    notebook = folder / stage_named(stage).notebook
    if not notebook.exists():
        shutil.copytree(NOTEBOOKS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    return notebook
