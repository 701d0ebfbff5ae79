"""A kernel killed in stage 3: what plain papermill saves, and what the workbench saves, cell by cell.

    python -m tests.faults.beside_papermill        writes the comparison in docs/reliability.md anew

Both really run, on the same notebook and the same data; a test compares the page with what they save.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from tests.conftest import OWN_POSTGRES, fresh_database
from tests.faults.faulty_notebooks import with_cell
from tests.faults.workshop import WorkedRun, Workshop
from workbench.base.settings import PROJECT, Settings
from workbench.notebook.report import head_of
from workbench.run.resources import acquired
from workbench.stage.pipeline import stage_named
from workbench.stage.run_parameters import RunParameters

REGION = "killed kernel"
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
_STAGE = "process"
_SECONDS = 100
_WIDTH = 45


def comparison(workshop: Workshop, folder: Path) -> str:
    """Kill a kernel in stage 3 of a run, then again under plain papermill; return both notebooks as one table."""
    notebooks = with_cell(folder / "notebooks", _STAGE, KILL)
    run = workshop.work(RunParameters(records=50), notebooks)
    theirs = by_plain_papermill(workshop, run, notebooks / stage_named(_STAGE).notebook, folder / "papermill.ipynb")
    return "\n".join(_table(theirs, run.notebook(_STAGE)))


def by_plain_papermill(workshop: Workshop, run: WorkedRun, notebook: Path, target: Path) -> NotebookNode:
    """Execute the stage's notebook with papermill as it comes, on the data of that run; return what it has saved."""
    environment = workshop.resources.environment("plain papermill", _STAGE, RunParameters())
    command = [Path(sys.executable).with_name("papermill"), notebook, target, "-k", "python3"]
    done = subprocess.run(
        [*command, "--no-progress-bar", "-p", "pipeline_id", run.pipeline_id],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        cwd=notebook.parent,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    workshop.resources.end_remains(environment)
    assert done.returncode != 0, done.stdout
    assert "DeadKernelError" in done.stderr, done.stderr
    return nbformat.read(target, as_version=4)


def _table(theirs: NotebookNode, ours: NotebookNode) -> Iterator[str]:
    yield "| cell | begins with | plain papermill says | the workbench says |"
    yield "|---|---|---|---|"
    for number, (their, our) in enumerate(zip(theirs.cells, ours.cells, strict=True), 1):
        if our.cell_type == "code":
            yield f"| {number} | {_head(our)} | {_status_of_papermill(their)} | {our.metadata.workbench.status} |"
    yield f"| the whole notebook | | {_end_of_papermill(theirs)} | {_end_of_ours(ours.metadata.workbench)} |"


def _head(cell: NotebookNode) -> str:
    if "injected-parameters" in cell.metadata.get("tags", []):  # they name the run
        return "the parameters of the run"
    return f"`{head_of(cell.source)[:_WIDTH].rstrip()}`".replace("|", "\\|")


def _status_of_papermill(cell: NotebookNode) -> str:
    mark = cell.metadata.get("papermill", {})
    return f"{mark.get('status')}, exception: {mark.get('exception')}"


def _end_of_papermill(notebook: NotebookNode) -> str:
    names = {output.ename for cell in notebook.cells for output in cell.get("outputs", []) if "ename" in output}
    exception = notebook.metadata.papermill.get("exception")
    return f"exception: {exception}; errors in its outputs: {', '.join(sorted(names)) or 'none'}"


def _end_of_ours(end: Any) -> str:
    error = end.error
    return f"{end.status}: {error.exception} in cell {error.number}, the kernel ended by {error.kernel.signal}"


def main() -> None:
    """Write the comparison into the page."""
    page = PROJECT / "docs" / "reliability.md"
    written = runpy.run_path(str(page.with_name("write_reliability.py")))
    with tempfile.TemporaryDirectory(prefix="wb-beside-") as folder, fresh_database(OWN_POSTGRES) as url:
        settings = Settings(_env_file=None, database_url=url, workbench_home=Path(folder) / "home")
        with acquired(settings) as resources:
            text = comparison(Workshop(resources), Path(folder))
    page.write_text(written["replaced"](page.read_text("utf-8"), REGION, text), "utf-8")


if __name__ == "__main__":
    main()
