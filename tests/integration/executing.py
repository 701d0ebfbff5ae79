"""What tests of execution share: tiny notebooks, observers, and a look at what was saved."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import nbformat
import psutil

from workbench.kernels.kernel_provisioner import Kernels
from workbench.notebook.execute import ExecutionOptions, execute_notebook
from workbench.notebook.results import NotebookError, NotebookOutcome, SilentObserver

NOTEBOOKS = Path(__file__).parent.parent / "notebooks_for_tests"
KERNEL_ONLY = ("workbench.kernels.kernel_app",)


@dataclass
class Recorder(SilentObserver):
    """Keeps what it is told."""

    events: list[tuple[object, ...]] = field(default_factory=list)

    def cell_started(self, number: int, total: int, source_head: str) -> None:
        self.events.append(("started", number, total, source_head))

    def cell_progress(self, number: int, done: int, total: int | None, unit: str) -> None:
        self.events.append(("progress", number, done, total, unit))

    def cell_output(self, number: int, text: str) -> None:
        self.events.append(("output", number, text))

    def cell_completed(self, number: int, seconds: float) -> None:
        self.events.append(("completed", number))

    def cell_failed(self, number: int, error: NotebookError) -> None:
        self.events.append(("failed", number, error.status))


@dataclass
class SetsEvents(SilentObserver):
    """Sets an event when the cell prints its name."""

    events: dict[str, Event]

    def cell_output(self, number: int, text: str) -> None:
        for word in text.split():
            self.events[word].set()


def code_runner(kernels: Kernels) -> Callable[..., NotebookOutcome]:
    """Return a function that executes one cell of some code, followed by one that prints 'after'."""

    def run(code: str, target: Path, **options: object) -> NotebookOutcome:
        wishes = ExecutionOptions(**{"kernels": kernels, **options})
        return execute_notebook(NOTEBOOKS / "runs_code.ipynb", target, {"code": code}, wishes)

    return run


def saved(target: Path) -> tuple[str, dict[int, str]]:
    """Return the notebook's status, and the status of each code cell by number, as they stand in the file."""
    notebook = nbformat.read(target, as_version=4)
    cells = {n: c.metadata.workbench.status for n, c in enumerate(notebook.cells, 1) if c.cell_type == "code"}
    return notebook.metadata.workbench.status, cells


def kernels_of_this_process() -> list[psutil.Process]:
    """Return those who work below this process, forked or not."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE and not _serves_this_process(child)]


def _serves_this_process(process: psutil.Process) -> bool:
    """Tell the fork server, and Python's tracker of semaphores, from kernels."""
    command = " ".join(process.cmdline())
    return process.ppid() == os.getpid() and ("kernel_forkserver" in command or "resource_tracker" in command)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
