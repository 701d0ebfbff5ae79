"""All notebooks under nbval: a tool that knows nothing of the workbench executes every cell, widgets included."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import nbformat
import pytest

from tests.e2e.conftest import Workbench
from workbench.base.settings import NOTEBOOKS

pytestmark = pytest.mark.timeout(600)
# None of this project's own options: they are made for its tests, not for what nbval makes of a cell.
OPTIONS = ("--nbval-lax", "--nbval-cell-timeout=240", "-p", "no:randomly", "-p", "no:cacheprovider")
INI = ("-o", "addopts=", "-o", "filterwarnings=", "--color=no")


def validated(workbench: Workbench, notebooks: Sequence[Path]) -> tuple[Counter[str], str]:
    """Run nbval on the notebooks, in this order; returns how many cells passed, failed …, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *INI, *notebooks],
        env={**os.environ, **workbench.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stdout.strip().splitlines()[-1]
    return Counter({what: int(count) for count, what in re.findall(r"(\d+) (passed|failed|error|skipped)", last)}), (
        done.stdout + done.stderr
    )


def code_cells(notebooks: Sequence[Path]) -> int:
    read = [nbformat.read(path, as_version=4) for path in notebooks]
    return sum(cell.cell_type == "code" for notebook in read for cell in notebook.cells)


def test_every_cell_of_every_notebook_passes(apart: Workbench) -> None:
    before = apart.json("run", "--records", "300")["pipeline_id"]
    notebooks = sorted(NOTEBOOKS.glob("*.ipynb"))
    counted, said = validated(apart, notebooks)
    assert counted == {"passed": code_cells(notebooks)}, said
    newest = apart.json("show")
    assert newest["pipeline_id"] != before, "01 makes a new run; 02 to 05 go on with it"
    assert (newest["status"], newest["trigger"], newest["records"]["exported"]) == ("completed", "notebook", 10_000)


def test_a_cell_that_raises_does_not_pass(apart: Workbench, tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOKS / "00_workbench.ipynb", as_version=4)
    next(cell for cell in notebook.cells if cell.id == "chain").source = "1 / 0"
    broken = tmp_path / "broken.ipynb"
    nbformat.write(notebook, broken)
    counted, said = validated(apart, [broken])
    assert counted == {"passed": code_cells([broken]) - 1, "failed": 1}, said
    assert "ZeroDivisionError" in said
