"""Executes one notebook on one kernel and saves it from the start to its final status, however the execution ends."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path

from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from workbench.base.error_text import without_terminal_codes
from workbench.base.errors import LeaseLost
from workbench.base.redaction import redacted
from workbench.kernels.kernel_exit import KernelExit
from workbench.kernels.kernel_folders import kernel_folder
from workbench.notebook.cancellation import Ended, Supervisor
from workbench.notebook.executed_notebook import NotebookDocument
from workbench.notebook.execution_options import ExecutionOptions
from workbench.notebook.notebook_client import CellClient
from workbench.notebook.report import head_of
from workbench.notebook.results import CellStatus, NotebookError, NotebookOutcome
from workbench.notebook.running_kernel import RunningKernel
from workbench.state.database import storable

logger = logging.getLogger(__name__)
_SKIP_TAG = "skip-execution"
_LONGEST_SHUTDOWN_SECONDS = 2.0
_END_NAMES = {
    CellStatus.KILLED: "KernelDied",
    CellStatus.TIMED_OUT: "DeadlinePassed",
    CellStatus.CANCELLED: "Cancelled",
}


class _CellFailed(Exception):
    """Carries the record of a cell that raised."""

    def __init__(self, error: NotebookError) -> None:
        super().__init__(str(error))
        self.error = error


class Session:
    """Executes one document once, in working folder `folder`."""

    def __init__(self, document: NotebookDocument, folder: Path, options: ExecutionOptions) -> None:
        self._document = document
        self._folder = folder
        self._options = options
        self._supervisor = Supervisor(options)
        self._supervisor.tick = self._save_sometimes
        self._current: int | None = None
        self._kernel_starts = 0
        self._exit = KernelExit()

    async def run(self) -> NotebookOutcome:
        """Execute; the document is saved in its final state. Raises only what the observer raises.

        After `LeaseLost` nothing is saved any more: the new owner of the run writes the end of the notebook.
        """
        began = time.monotonic()
        try:
            error = await self._attempt()
        except LeaseLost:
            raise
        except BaseException as raised:
            reason = f"the execution of the notebook failed: {type(raised).__name__}"
            self._conclude(self._loss(CellStatus.CANCELLED, reason), began)
            raise
        return self._conclude(error, began)

    async def _attempt(self) -> NotebookError | None:
        try:
            self._document.save()
            with kernel_folder() as folder:
                error = await self._on_kernel(RunningKernel(folder, self._options.kernels))
        except OSError as failure:
            return NotebookError(CellStatus.FAILED, None, "", type(failure).__name__, str(failure))
        if error is not None and error.number is not None:
            self._options.observer.cell_failed(error.number, error)
        return error

    async def _on_kernel(self, kernel: RunningKernel) -> NotebookError | None:
        """Run the cells and stop the kernel, always; whatever is raised in between, it is killed first."""
        patience = 0.0
        try:
            error = await self._error_of_cells(kernel)
            if not self._supervisor.urgent:
                patience = min(self._options.grace_seconds, _LONGEST_SHUTDOWN_SECONDS if error else 60.0)
        finally:
            self._exit = await kernel.stop(patience)
            last_words = redacted(_plain(kernel.last_words()))
            await kernel.release()
        return self._with_kernel(error, last_words)

    async def _error_of_cells(self, kernel: RunningKernel) -> NotebookError | None:
        try:
            await self._cells(await self._started(kernel))
        except _CellFailed as failure:
            return failure.error
        except Ended as ended:
            return self._loss(ended.status, self._reason(ended.status, kernel), ended.work_done)
        except asyncio.CancelledError:
            self._supervisor.kill_now()
            return self._loss(CellStatus.CANCELLED, "interrupted")
        return None

    async def _started(self, kernel: RunningKernel) -> CellClient:
        self._supervisor.kernel_exit = kernel.exit
        await self._supervisor.watch(kernel.start(self._folder, self._options.environment))
        self._kernel_starts += 1
        channels = await self._supervisor.watch(kernel.connect())
        client = CellClient(self._document.notebook, channels, self._options.observer, self._options.output_cap)
        self._supervisor.interrupt = partial(client.interrupted, kernel.interrupt)
        return client

    async def _cells(self, client: CellClient) -> None:
        for index, cell in self._document.code_cells():
            if _SKIP_TAG in cell.metadata.get("tags", []):
                self._document.end(index, CellStatus.SKIPPED)
            elif cell.source.strip():
                await self._cell(client, index, cell)
            else:
                self._document.end(index, CellStatus.COMPLETED)
        # One more answer: a kernel that is dying after its last reply does not give it.
        await self._supervisor.watch(client.answer())

    async def _cell(self, client: CellClient, index: int, cell: NotebookNode) -> None:
        if (status := self._supervisor.ending()) is not None:
            raise Ended(status)
        self._current = index
        self._document.begin(index)
        self._options.observer.cell_started(index + 1, self._document.total, head_of(cell.source))
        client.begin_cell()
        try:
            await self._supervisor.watch(client.async_execute_cell(cell, index))
        except CellExecutionError as error:
            raise _CellFailed(self._error(CellStatus.FAILED, error.ename, error.evalue)) from None
        except DeadKernelError:
            raise Ended(CellStatus.KILLED) from None
        finally:
            client.end_cell(cell)
        if client.kernel_ended_by_cell:
            reason = "the cell ended the kernel; a notebook must run to its last cell"
            raise _CellFailed(self._error(CellStatus.FAILED, "KernelLeft", reason))
        self._complete(index)

    def _complete(self, index: int) -> None:
        seconds = self._document.end(index, CellStatus.COMPLETED)
        self._save_sometimes()
        self._options.observer.cell_completed(index + 1, seconds)

    def _loss(self, status: CellStatus, reason: str, work_done: bool = False) -> NotebookError:
        """Record an end from outside: the running cell gets the status, unless it had just succeeded."""
        if work_done and self._current is not None and self._is_running():
            self._complete(self._current)
        return self._error(status, _END_NAMES[status], reason)

    def _error(self, status: CellStatus, exception: str, value: str) -> NotebookError:
        value = redacted(_plain(value))
        if self._current is None or not self._is_running():
            after = f", after cell {self._current + 1}" if self._current is not None else ""
            return NotebookError(status, None, "", exception, f"{value}{after}")
        self._document.end(self._current, status)
        cell = self._document.notebook.cells[self._current]
        lines = [line for output in cell.outputs if output.output_type == "error" for line in output.traceback]
        return NotebookError(status, self._current + 1, cell.source, exception, value, _plain("\n".join(lines)))

    def _is_running(self) -> bool:
        if self._current is None:
            return False
        mark = self._document.notebook.cells[self._current].metadata["workbench"]
        return bool(mark["status"] == CellStatus.RUNNING)

    def _reason(self, status: CellStatus, kernel: RunningKernel) -> str:
        if status is CellStatus.TIMED_OUT:
            return f"the notebook took longer than {self._options.deadline_seconds:g} s"
        if status is CellStatus.CANCELLED:
            return "the notebook was cancelled"
        return f"the kernel ended {kernel.exit() or KernelExit()}"

    def _with_kernel(self, error: NotebookError | None, last_words: str) -> NotebookError | None:
        """Add the kernel's end to the error; an unexpected end is an error even after the last cell."""
        if error is None:
            if not (self._exit.code or self._exit.signal):
                return None
            reason = f"every cell completed, but then the kernel ended {self._exit}"
            error = NotebookError(CellStatus.KILLED, None, "", _END_NAMES[CellStatus.KILLED], reason)
        said = last_words if error.status is CellStatus.KILLED else ""
        traceback = "\n\n".join(part for part in (error.traceback, said) if part)
        return NotebookError(**{**vars(error), "traceback": traceback, "kernel": self._exit})

    def _save_sometimes(self) -> None:
        try:
            self._document.save_sometimes()
        except OSError as error:  # the last save decides; until then the disk may come back
            logger.warning("notebook.save_failed", extra={"reason": str(error)})

    def _conclude(self, error: NotebookError | None, began: float) -> NotebookOutcome:
        outcome = self._outcome(error, began)
        self._document.conclude(outcome)
        try:
            self._document.save()
        except OSError as failure:
            logger.error("notebook.save_failed", extra={"reason": str(failure)})
            return self._conclude_unsaved(error, failure, began)
        return outcome

    def _conclude_unsaved(self, error: NotebookError | None, failure: OSError, began: float) -> NotebookOutcome:
        """Report to the caller that the notebook cannot be saved, and try to save it without its outputs."""
        reason = f"the executed notebook cannot be saved: {failure}"
        error = error or NotebookError(CellStatus.FAILED, None, "", type(failure).__name__, reason)
        outcome = self._outcome(error, began)
        self._document.forget_outputs()
        self._document.conclude(outcome)
        try:
            self._document.save()
        except OSError as again:
            logger.error("notebook.save_failed", extra={"reason": str(again)})
        return outcome

    def _outcome(self, error: NotebookError | None, began: float) -> NotebookOutcome:
        return NotebookOutcome(
            status=error.status if error else CellStatus.COMPLETED,
            cells=self._document.outcomes(),
            error=error,
            seconds=time.monotonic() - began,
            kernel_starts=self._kernel_starts,
            kernel=self._exit,
        )


def run_session(session: Session) -> NotebookOutcome:
    """Run to the end in an event loop of its own, also for callers that are inside one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(session.run())
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="notebook") as pool:
        return pool.submit(copy_context().run, asyncio.run, session.run()).result()


def _plain(text: str) -> str:
    return str(storable(without_terminal_codes(text)))  # as the database can store it, so that all places show the same
