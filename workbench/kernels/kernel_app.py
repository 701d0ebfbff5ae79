"""ipykernel's application without a single TCP socket.

Even on ipc transport ipykernel binds a port of 127.0.0.1, over which forked children of the kernel send what they
print. Here that is a socket in the kernel's private folder, like all others.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import os
import signal
from pathlib import Path
from typing import Any

import zmq
from ipykernel import kernelapp
from ipykernel.iostream import IOPubThread
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from zmq.eventloop.zmqstream import ZMQStream

_CHILDREN_SECONDS = (0.01, 0.03, 0.1)


class UnconfiguredApp(IPKernelApp):
    """Runs no start-up file (PYTHONSTARTUP, a profile's, the system's) and reads no configuration of IPython.

    A configuration for interactive work, such as a decimal context, must not change a run's data.
    """

    def load_config_file(self, *_: Any, **__: Any) -> None:
        """Read none."""

    def _run_startup_files(self) -> None:
        """Run none."""


class QuickExitKernel(IPythonKernel):
    """Exits without waiting for children that ignore SIGTERM: the process that reaps a kernel kills its group.

    ipykernel waits up to 29 s for them, and 5 s for the resource tracker that dbt's locks start, which ignores SIGTERM.
    """

    async def _progressively_terminate_all_children(self) -> None:
        for seconds in _CHILDREN_SECONDS:
            if not self._process_children():  # type: ignore[no-untyped-call]
                return
            self._signal_children(signal.SIGTERM)  # type: ignore[no-untyped-call]
            await asyncio.sleep(seconds)


def serve(connection_file: str, owner: int, crash_log: int) -> None:
    """Serve as a kernel until shut down; a crash writes Python's stack to descriptor `crash_log`."""
    endpoint = f"ipc://{Path(connection_file).with_name('forks')}"

    class PrivateIOPubThread(IOPubThread):
        """Takes the output of forked children over a unix socket."""

        def _setup_pipe_in(self) -> None:
            self._pipe_uuid = os.urandom(16)
            pipe = self.socket.context.socket(zmq.PULL)
            pipe.linger = 0
            pipe.bind(endpoint)
            self._pipe_in = ZMQStream(pipe, self.io_loop)
            self._pipe_in.on_recv(self._handle_pipe_msg)

        def _setup_pipe_out(self) -> tuple[Any, Any]:
            context = zmq.Context()  # sockets and contexts do not survive a fork
            pipe = context.socket(zmq.PUSH)
            pipe.linger = 3000
            pipe.connect(endpoint)
            return context, pipe

    kernelapp.IOPubThread = PrivateIOPubThread  # type: ignore[attr-defined]
    app = UnconfiguredApp.instance(kernel_class=QuickExitKernel)
    app.initialize(  # type: ignore[no-untyped-call]
        [
            f"--IPKernelApp.connection_file={connection_file}",
            f"--IPKernelApp.parent_handle={owner}",
            "--HistoryManager.hist_file=:memory:",
        ]
    )
    # ipykernel redirects descriptor 2 into itself; a crash must reach the log, since a dead kernel sends no message.
    faulthandler.enable(file=crash_log, all_threads=False)
    app.start()  # type: ignore[no-untyped-call]
    # Its close() waits for the control thread, which may wait for the thread that close() has stopped just before:
    # one kernel in ten then never ended. The system closes the sockets; exit handlers of the notebook still run.
    atexit.unregister(app.close)
