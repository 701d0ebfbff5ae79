"""The notebook of a crashed stage tells the truth, whatever a person has made of it meanwhile."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from workbench.notebook.executed_notebook import amend_after_crash
from workbench.notebook.results import CellStatus


def saved(path: Path, *statuses: str) -> None:
    """Save an executed notebook with cells of these statuses, and a last one that a person has added since."""
    cells = [new_code_cell("x = 1", metadata={"workbench": {"status": status}}) for status in statuses]
    nbformat.write(new_notebook(cells=[*cells, new_code_cell("x")], metadata={"workbench": {}}), path)


def test_a_cell_added_by_a_person_has_not_run_and_hinders_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notebook.ipynb"
    saved(path, "completed", "running", "not_run")
    amend_after_crash(path, {1: CellStatus.COMPLETED, 2: CellStatus.KILLED}, "Crashed", "without a word")
    document = nbformat.read(path, as_version=4)
    assert [cell.metadata.workbench.status for cell in document.cells] == ["completed", "killed", "not_run", "not_run"]
    assert document.metadata.workbench.error.number == 2
    assert (tmp_path / "report.html").exists()


def test_a_notebook_without_any_mark_is_told_its_end_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "notebook.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("x")]), path)
    amend_after_crash(path, {1: CellStatus.KILLED, 7: CellStatus.COMPLETED}, "Crashed", "without a word")
    assert nbformat.read(path, as_version=4).metadata.workbench.status == "killed"
