"""Ends an execution from outside the notebook: at its deadline, on request, or when the kernel dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from workbench.kernels.kernel_exit import KernelExit
from workbench.notebook.execution_options import ExecutionOptions
from workbench.notebook.results import CellStatus

T = TypeVar("T")
_TICK_SECONDS = 0.05
_DRAIN_SECONDS = 0.5


class Ended(Exception):
    """Ended from outside: killed, timed_out or cancelled. `work_done`: the work had just succeeded."""

    def __init__(self, status: CellStatus, work_done: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.work_done = work_done


class Supervisor:
    """Supervises awaited work. The deadline counts from the construction, on the monotonic clock."""

    def __init__(self, options: ExecutionOptions) -> None:
        seconds = options.deadline_seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._options = options
        self._killed = False
        self.kernel_exit: Callable[[], KernelExit | None] = lambda: None
        self.interrupt: Callable[[], Awaitable[None]] | None = None
        self.tick: Callable[[], None] = lambda: None

    @property
    def urgent(self) -> bool:
        """Whether the execution ends at once, without waiting for a clean end."""
        return self._killed or self._options.kill.is_set()

    def kill_now(self) -> None:
        """End the execution at once from now on."""
        self._killed = True

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; raises `Ended` at the deadline, on request, or when the kernel dies.

        On deadline and cancel the kernel is interrupted first and the work has `grace_seconds` to end, so that Spark
        jobs and database queries are cancelled too and the traceback shows the interrupted line.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                status = self.ending()
                if status is not None:
                    await self._end(task, status)
                    raise Ended(status, task.done() and not task.cancelled() and task.exception() is None)
                self.tick()
                await asyncio.wait({task}, timeout=_TICK_SECONDS)
            return task.result()
        finally:
            await _abandon(task)

    def ending(self) -> CellStatus | None:
        """Return the status that ends the execution now; None while it goes on."""
        if self.kernel_exit() is not None:
            return CellStatus.KILLED
        if self._options.cancel.is_set() or self.urgent:
            return CellStatus.CANCELLED
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return CellStatus.TIMED_OUT
        return None

    async def _end(self, task: asyncio.Future[T], status: CellStatus) -> None:
        patience = _DRAIN_SECONDS
        if status is not CellStatus.KILLED and self.interrupt is not None and not self.urgent:
            await self.interrupt()
            patience = self._options.grace_seconds
        until = time.monotonic() + patience
        while not task.done() and time.monotonic() < until and not self.urgent:
            if status is not CellStatus.KILLED and self.kernel_exit() is not None:
                until = min(until, time.monotonic() + _DRAIN_SECONDS)
            await asyncio.wait({task}, timeout=_TICK_SECONDS)


async def _abandon(task: asyncio.Future[Any]) -> None:
    """Cancel the task if it still runs, and retrieve its exception, so that asyncio logs no warning."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
