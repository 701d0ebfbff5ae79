"""A kernel from its start to its verified end: afterwards no process, socket or file of it is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from jupyter_client.asynchronous.client import AsyncKernelClient

from workbench.kernels.kernel_exit import KernelExit
from workbench.kernels.kernel_provisioner import KernelProcess, Kernels, kernel_environment, log_of, manager_in
from workbench.notebook.notebook_client import FairChannel

_ANSWER_SECONDS = 60
_LOG_TAIL = 8_000


class RunningKernel:
    """One kernel in the private folder `folder`, which the caller makes and removes."""

    def __init__(self, folder: Path, kernels: Kernels) -> None:
        self._folder = folder
        self._manager = manager_in(folder, kernels)
        self._channels: AsyncKernelClient | None = None

    async def start(self, working_folder: Path, environment: Mapping[str, str]) -> None:
        """Launch the process; raises `OSError` when it cannot be started."""
        whole = kernel_environment(self._folder, environment)
        await self._manager._async_start_kernel(env=whole, cwd=str(working_folder))

    async def connect(self) -> AsyncKernelClient:
        """Return a client the kernel has answered; raises `OSError` when it does not."""
        channels: AsyncKernelClient = self._manager.client()
        channels.iopub_channel_class = FairChannel
        channels.start_channels(stdin=False, hb=False)
        self._channels = channels
        try:
            await channels.wait_for_ready(timeout=_ANSWER_SECONDS)
        except RuntimeError as error:
            raise OSError(f"the kernel does not answer: {error}") from error
        channels.allow_stdin = False
        return channels

    async def interrupt(self) -> None:
        """Send SIGINT to the kernel's group: the cell ends with KeyboardInterrupt, if it can."""
        if self.exit() is None:
            await self._manager._async_interrupt_kernel()

    def exit(self) -> KernelExit | None:
        """Return how the process ended, None while it lives or before it was launched."""
        process = self._process()
        if process is None:
            return None
        process.poll()
        return process.exit

    async def stop(self, patience: float) -> KernelExit:
        """Ask the kernel to shut down, and kill its whole group after `patience` seconds; return how it ended.

        A kernel killed here only because it was slow to leave (threads that do not end) has ended well enough.
        """
        process = self._process()
        if process is None:
            return KernelExit()
        asked = process.poll() is None and patience > 0
        try:
            if asked:
                await self._manager._async_request_shutdown()
                await _ended(process, patience)
        finally:  # also when the waiting itself is cancelled
            if overdue := process.poll() is None:
                process.kill()
        await _ended(process, None)
        end = process.exit or KernelExit()
        return KernelExit(code=0, peak_bytes=end.peak_bytes) if asked and overdue else end

    async def release(self) -> None:
        """Close the channels and remove connection file and sockets."""
        if self._channels is not None:
            self._channels.stop_channels()
        await self._manager._async_cleanup_resources()

    def last_words(self) -> str:
        """Return the end of the process's output outside of messages, such as the stack of a crash."""
        try:
            text = log_of(Path(self._manager.connection_file)).read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return f"The kernel's own last words:\n{text.strip()}" if text.strip() else ""

    def _process(self) -> KernelProcess | None:
        process: KernelProcess | None = self._manager.provisioner.launched  # type: ignore[union-attr]
        return process


async def _ended(process: KernelProcess, seconds: float | None) -> None:
    until = None if seconds is None else time.monotonic() + seconds
    while process.poll() is None and (until is None or time.monotonic() < until):
        await asyncio.sleep(0.01)
