"""A person at a notebook, cell by cell, without a browser: a kernel of its own that keeps what it knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from workbench.base.settings import NOTEBOOKS


@dataclass(frozen=True)
class Stepper:
    """Executes cells of one notebook in any order, any number of times."""

    client: NotebookClient

    def run(self, *cell_ids: str) -> None:
        """Execute these cells; raises what a cell raises."""
        for cell_id in cell_ids:
            self.client.execute_cell(*self._place(cell_id))

    @property
    def pipeline_id(self) -> str:
        """The run on which the notebook works, once its stage is open."""
        cells = self.client.nb.cells
        cells.append(nbformat.v4.new_code_cell("print(stage.pipeline_id)"))
        self.client.execute_cell(cells[-1], len(cells) - 1)
        return str(cells.pop().outputs[0].text).strip()

    def run_until_it_fails(self) -> Any:
        """Execute all cells and return the first that raises; None when none does."""
        for index, cell in enumerate(self.client.nb.cells):
            try:
                self.client.execute_cell(cell, index)
            except CellExecutionError:
                return cell
        return None

    def _place(self, cell_id: str) -> tuple[Any, int]:
        index = next(number for number, cell in enumerate(self.client.nb.cells) if cell.id == cell_id)
        return self.client.nb.cells[index], index


@contextmanager
def stepping(path: Path, home: Path) -> Iterator[Stepper]:
    """Open a notebook with a kernel for the block; its end is the kernel's, as when a person shuts it down."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=240, skip_cells_with_tag="")
    environment = {**os.environ, "WORKBENCH_HOME": str(home)}
    with client.setup_kernel(env=environment, cwd=str(NOTEBOOKS)):
        yield Stepper(client)
