"""Who ends an execution besides the notebook itself: the clock, a person, or the kernel's death."""

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
    """Watches over awaited work. The deadline counts from now, on the monotonic clock."""

    def __init__(self, options: ExecutionOptions) -> None:
        seconds = options.deadline_seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._options = options
        self._hurried = False
        self.kernel_exit: Callable[[], KernelExit | None] = lambda: None
        self.interrupt: Callable[[], Awaitable[None]] | None = None
        self.tick: Callable[[], None] = lambda: None

    @property
    def urgent(self) -> bool:
        """Whether nobody wants to wait for a clean end any more."""
        return self._hurried or self._options.kill.is_set()

    def hurry(self) -> None:
        """Wait for nothing from now on."""
        self._hurried = True

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; raises `Ended` as soon as clock, person or kernel ends it.

        On deadline and cancel the kernel is interrupted first and the work has the grace to end by itself, so that
        Spark jobs and database queries are cancelled too and the traceback shows where it was.
        """
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                status = self.ending()
                if status is not None:
                    await self._let_go(task, status)
                    raise Ended(status, task.done() and not task.cancelled() and task.exception() is None)
                self.tick()
                await asyncio.wait({task}, timeout=_TICK_SECONDS)
            return task.result()
        finally:
            await _abandon(task)

    def ending(self) -> CellStatus | None:
        """Return what ends the execution now, None while nothing does."""
        if self.kernel_exit() is not None:
            return CellStatus.KILLED
        if self._options.cancel.is_set() or self.urgent:
            return CellStatus.CANCELLED
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return CellStatus.TIMED_OUT
        return None

    async def _let_go(self, task: asyncio.Future[T], status: CellStatus) -> None:
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
    """Cancel what still runs, and take note of how it ended so that nobody warns about it."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
