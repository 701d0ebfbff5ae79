"""Warm kernels: forked from one process that has imported the heavy modules, instead of new interpreters.

    with warm_kernels() as kernels:                 # returns at once, imports go on in the background
        options = ExecutionOptions(kernels=kernels)

The fork server and its kernels end with their owner, because the system closes the owner's sockets. Kernels run the
code that the server has imported: start one server per run, not one per machine, or edited modules are not used.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from workbench.base.environment import passed_on
from workbench.kernels import kernel_forkserver
from workbench.kernels.kernel_exit import KernelExit
from workbench.kernels.kernel_provisioner import (
    KERNEL_DEFAULTS,
    KernelOrder,
    KernelProcess,
    Kernels,
    PlainKernels,
    exit_of,
)

logger = logging.getLogger(__name__)

# Polars is missing on purpose: importing it starts a thread ("polars-ooc-cleaner") that a fork would cut off.
HEAVY_MODULES = (
    "workbench.kernels.kernel_app",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "IPython.core.completer",
    "pyarrow.parquet",
    "pandas",
    "plotly.graph_objects",
    "plotly.express",
    "sqlalchemy.orm",
    "psycopg2",
    "pyspark.sql.connect.session",
    "faker",
    "workbench.base.settings",
)
# dbt, more than half of the import time, is imported after the first fork: the first kernel does not wait for it.
# In pieces of at most half a second: the server forks and reaps between two of them.
LATER_MODULES = (
    "dbt_common.clients.agate_helper",
    "dbt.adapters.factory",
    "dbt.artifacts.schemas.run",
    "dbt.parser.manifest",
    "dbt.cli.main",
    "dbt.adapters.postgres",
)
_POLL_SECONDS = 0.01
_READY_SECONDS = 60.0


class ForkServerFailed(OSError):
    """The fork server cannot fork a kernel; the message says why."""


class ForkServerClient:
    """A fork server as its owner sees it. Threads may share one; each kernel has a lifeline of its own."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._report: dict[str, Any] | None = None
        self.pid = process.pid

    @classmethod
    def started(
        cls,
        modules: Sequence[str] = HEAVY_MODULES,
        later: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """Start the process and return at once; it imports `modules` in the background, `later` after the first fork.

        `environment` is that of the imports (some modules read it once); kernels get their own with each order.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # One BLAS thread: OpenBLAS starts its threads at import, and a process with threads must not fork.
        variables = {**KERNEL_DEFAULTS, **(environment or passed_on(os.environ)), "OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    kernel_forkserver.__file__,
                    str(theirs.fileno()),
                    *modules,
                    kernel_forkserver.LATER,
                    *later,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=variables,
                start_new_session=True,
            )
        ours.setblocking(False)
        return cls(process, ours)

    async def ready(self, seconds: float = _READY_SECONDS) -> None:
        """Wait until the imports are done; raises `ForkServerFailed` when it may not fork, died, or takes too long."""
        waited = 0.0
        while self._report is None:
            message = _received(self._control)
            if message is not None:
                self._report = json.loads(message) if message else {"died": True}
            elif (waited := waited + _POLL_SECONDS) > seconds:
                raise ForkServerFailed(f"the fork server was not ready after {seconds:.0f} s")
            else:
                await asyncio.sleep(_POLL_SECONDS)
        self._check_report()

    async def fork(self, order: KernelOrder) -> KernelProcess:
        """Fork a kernel; raises `ForkServerFailed`."""
        await self.ready()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        request = {
            "connection_file": str(order.connection_file),
            "environment": dict(order.environment),
            "folder": str(order.folder),
            "log": str(order.log),
        }
        try:
            with theirs:
                self._send(json.dumps(request).encode(), theirs)
            return ForkedProcess(await _pid_from(ours), ours)
        except BaseException:
            ours.close()  # kills the kernel if it was forked meanwhile
            raise

    def _send(self, order: bytes, lifeline: socket.socket) -> None:
        if len(order) > kernel_forkserver.LONGEST_MESSAGE:
            raise ForkServerFailed(f"an environment of {len(order):,} bytes is too large for the fork server")
        try:
            socket.send_fds(self._control, [order], [lifeline.fileno()])
        except OSError as error:
            raise ForkServerFailed(f"the fork server takes no request: {error}") from error

    def close(self) -> None:
        """End the fork server and every kernel it has forked."""
        self._control.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check_report(self) -> None:
        report = self._report or {}
        if report.get("died"):
            raise ForkServerFailed("the fork server has died")
        if report["threads"]:
            raise ForkServerFailed(f"the fork server has threads and must not fork: {', '.join(report['threads'])}")
        for module, reason in report.pop("failed", {}).items():
            logger.warning("fork_server.import_failed", extra={"module_name": module, "reason": reason})


class ForkedProcess(KernelProcess):
    """A kernel of the fork server, seen over its lifeline; closing the lifeline kills the kernel."""

    def __init__(self, pid: int, lifeline: socket.socket) -> None:
        super().__init__(pid)
        self._lifeline = lifeline

    def exit_if_ended(self) -> KernelExit | None:
        message = _received(self._lifeline)
        if message is None:
            return None
        self._lifeline.close()
        if not message:  # the fork server has died, and the system has killed its kernels
            return KernelExit(signal=signal.SIGKILL.name)
        report = json.loads(message)
        return exit_of(report["code"], report["peak_bytes"])


class WarmKernels:
    """Forks kernels from a fork server; when that fails, logs it and starts a new interpreter."""

    def __init__(self, server: ForkServerClient, fallback: Kernels | None = None) -> None:
        self._server = server
        self._fallback = fallback or PlainKernels()

    async def launch(self, order: KernelOrder) -> KernelProcess:
        try:
            return await self._server.fork(order)
        except ForkServerFailed as error:
            logger.warning("fork_server.failed", extra={"reason": str(error), "instead": "a new interpreter"})
        return await self._fallback.launch(order)


@contextmanager
def warm_kernels(modules: Sequence[str] = HEAVY_MODULES, later: Sequence[str] = LATER_MODULES) -> Iterator[Kernels]:
    """Yield kernels of a fork server that runs for the block; plain ones if it cannot be started at all."""
    try:
        server = ForkServerClient.started(modules, later)
    except OSError as error:
        logger.warning("fork_server.failed", extra={"reason": str(error), "instead": "a new interpreter"})
        yield PlainKernels()
        return
    with server:
        yield WarmKernels(server)


async def _pid_from(lifeline: socket.socket) -> int:
    while (message := _received(lifeline)) is None:
        await asyncio.sleep(_POLL_SECONDS)
    answer = json.loads(message) if message else {"failed": "the fork server has died"}
    if "failed" in answer:
        raise ForkServerFailed(f"no fork: {answer['failed']}")
    return int(answer["pid"])


def _received(end: socket.socket) -> bytes | None:
    """Return the next message, b"" when the other end is closed, None when there is nothing yet."""
    try:
        return end.recv(kernel_forkserver.LONGEST_MESSAGE)
    except BlockingIOError:
        return None
    except OSError:
        return b""
