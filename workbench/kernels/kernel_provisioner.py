"""Kernels: IPython processes that talk over unix sockets in a private folder, never over TCP.

A kernel needs no installed kernelspec, no user profile and no home: its argv, its IPYTHONDIR and its sockets are ours.
`Kernels` decides how the process is made: a new interpreter (`PlainKernels`) or a fork (`kernel_pool.WarmKernels`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from workbench.base.environment import passed_on
from workbench.kernels import kernel_process
from workbench.kernels.kernel_exit import KernelExit

KERNEL_DEFAULTS: Mapping[str, str] = {
    # Figures as data: the renderer plotly picks otherwise embeds 5 MB of script into every output.
    "PLOTLY_RENDERER": "plotly_mimetype",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


@dataclass(frozen=True)
class KernelOrder:
    """A request for a kernel process: its connection file, whole environment, working folder and log file."""

    connection_file: Path
    environment: Mapping[str, str]
    folder: Path
    log: Path


class KernelProcess(ABC):
    """A process that leads its own group; behaves like `subprocess.Popen` where jupyter_client looks."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit: KernelExit | None = None

    @abstractmethod
    def exit_if_ended(self) -> KernelExit | None:
        """Return how the process ended, None while it lives; never blocks."""

    def poll(self) -> int | None:
        self.exit = self.exit or self.exit_if_ended()
        if self.exit is None:
            return None
        return -signal.Signals[self.exit.signal] if self.exit.signal else self.exit.code or 0

    def wait(self) -> int | None:
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.killpg(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class StartedProcess(KernelProcess):
    """A kernel in a new interpreter, a child of this process."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        super().__init__(child.pid)
        self._child = child
        self._seen_bytes: int | None = None
        self._inherited_bytes = kernel_process.own_peak_bytes()

    def exit_if_ended(self) -> KernelExit | None:
        ended = kernel_process.reap_group(self.pid)
        if ended is None:
            self._seen_bytes = kernel_process.peak_bytes_of(self.pid) or self._seen_bytes
            return None
        code, peak = ended
        self._child.returncode = code
        # Linux's figure starts at this process's own peak; below that the figure read while the child lived is right.
        return exit_of(code, peak if peak > self._inherited_bytes else self._seen_bytes)


class Kernels(Protocol):
    """A way to make a kernel process."""

    async def launch(self, order: KernelOrder) -> KernelProcess:
        """Return the running process; raises `OSError` when it cannot be started."""


class PlainKernels:
    """Starts a new interpreter per kernel: half a second, and the notebook imports everything itself."""

    async def launch(self, order: KernelOrder) -> KernelProcess:
        # -P: a file in the working folder must not shadow a module of the kernel.
        command = [sys.executable, "-P", kernel_process.__file__, str(order.connection_file), str(os.getpid())]
        with order.log.open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(order.environment),
                cwd=order.folder,
                start_new_session=True,
            )
        return StartedProcess(child)


class Provisioner(LocalProvisioner):
    """Lets jupyter_client's manager own a process that `Kernels` has launched."""

    kernels: Kernels
    launched: KernelProcess | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        connection_file = Path(cmd[0])
        order = KernelOrder(connection_file, kwargs["env"], Path(kwargs["cwd"]), log_of(connection_file))
        launched = await self.kernels.launch(order)
        self.launched = launched
        self.process = launched  # type: ignore[assignment]  # the base class knows only Popen
        self.pid = self.pgid = launched.pid  # type: ignore[assignment]
        return self.connection_info


class WorkbenchKernelManager(AsyncKernelManager):
    """jupyter_client's manager on ipc transport, with a kernelspec of its own."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=["{connection_file}"], display_name="Python 3", language="python")


def manager_in(folder: Path, kernels: Kernels) -> WorkbenchKernelManager:
    """Return a manager whose connection file, sockets and log lie in `folder`."""
    manager = WorkbenchKernelManager(
        transport="ipc", connection_file=str(folder / "k.json"), kernel_name="python3", autorestart=False
    )
    manager.provisioner = Provisioner(kernel_id="workbench", kernel_spec=manager.kernel_spec, parent=manager)
    manager.provisioner.kernels = kernels
    return manager


def kernel_environment(folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Return a kernel's whole environment: this process's, the defaults, `extra`, and a private IPython folder."""
    return {**KERNEL_DEFAULTS, **passed_on(os.environ), **extra, "IPYTHONDIR": str(folder / "ipython")}


def exit_of(code: int, peak_bytes: int | None = None) -> KernelExit:
    """Translate Popen's convention (minus signal) into a `KernelExit`."""
    if code >= 0:
        return KernelExit(code=code, peak_bytes=peak_bytes)
    return KernelExit(signal=signal.Signals(-code).name, peak_bytes=peak_bytes)


def log_of(connection_file: Path) -> Path:
    """Return the file of the kernel's own stdout and stderr: output outside of messages, such as a crash."""
    return connection_file.with_name("kernel.log")
