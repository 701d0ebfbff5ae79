"""The results of an execution: statuses, errors and outcomes of cells and notebooks, and who observes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from workbench.kernels.kernel_exit import KernelExit


class CellStatus(StrEnum):
    """What happened to a code cell. RUNNING is only seen in a notebook whose execution goes on, or whose owner died."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    KILLED = "killed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    NOT_RUN = "not_run"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CellOutcome:
    """One code cell. `number` counts all cells of the executed notebook from 1, `seconds` are wall time."""

    number: int
    cell_id: str
    status: CellStatus
    seconds: float
    source: str


@dataclass(frozen=True)
class NotebookError:
    """Why a notebook did not complete. `number` and `source` are those of the cell, None and "" outside any cell.

    `exception` is the class name that the kernel reported, or KernelDied, DeadlinePassed, Cancelled, KernelLeft.
    `traceback` is plain text without terminal colours.
    """

    status: CellStatus
    number: int | None
    source: str
    exception: str
    value: str
    traceback: str = ""
    kernel: KernelExit | None = None

    def __str__(self) -> str:
        where = f"cell {self.number}" if self.number else "notebook"
        return f"{where} {self.status.replace('_', ' ')}: {self.exception}: {self.value}".rstrip(": ")


@dataclass(frozen=True)
class NotebookOutcome:
    """The end of one execution. `status` is completed, failed, killed, timed_out or cancelled."""

    status: CellStatus
    cells: tuple[CellOutcome, ...]
    error: NotebookError | None
    seconds: float
    kernel_starts: int = 0
    kernel: KernelExit = field(default_factory=KernelExit)

    @property
    def completed(self) -> bool:
        return self.status is CellStatus.COMPLETED


class Observer(Protocol):
    """Called with each event, in the thread that executes. An exception that it raises ends the notebook."""

    def cell_started(self, number: int, total: int, source_head: str) -> None:
        """Code cell `number` of `total` cells is sent to the kernel; `source_head` is its first statement."""

    def cell_progress(self, number: int, done: int, total: int | None, unit: str) -> None:
        """The cell has done `done` of `total` (None if unknown) records, or what `unit` names in the plural."""

    def cell_output(self, number: int, text: str) -> None:
        """The cell has printed or displayed `text`; output beyond the cap is not reported."""

    def cell_completed(self, number: int, seconds: float) -> None:
        """The cell has completed."""

    def cell_failed(self, number: int, error: NotebookError) -> None:
        """The cell has not completed; `error.status` is its status."""


class SilentObserver:
    """Ignores all events; a base for observers of some of them."""

    def cell_started(self, number: int, total: int, source_head: str) -> None: ...

    def cell_progress(self, number: int, done: int, total: int | None, unit: str) -> None: ...

    def cell_output(self, number: int, text: str) -> None: ...

    def cell_completed(self, number: int, seconds: float) -> None: ...

    def cell_failed(self, number: int, error: NotebookError) -> None: ...
