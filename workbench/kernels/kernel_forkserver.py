"""The fork server's process: imports the heavy modules once, then forks one kernel per request.

It is connected to its owner by inherited unix sockets that preserve messages and have no path. The control socket
carries requests, each with one end of a lifeline; the server answers over the lifeline with the kernel's pid and, when
the kernel has ended, its exit code and peak memory. When the owner closes a lifeline, its kernel is killed; when the
control socket closes (the owner has ended, however), all kernels are killed and the server ends.

Only a process without threads of Python or of numeric libraries may fork; see `unsafe_threads`. Modules that no first
stage needs are imported after the first fork. docs/adr/0014 says why this is not `multiprocessing`'s fork server.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from workbench.kernels.kernel_folders import remove_kernel_folder
from workbench.kernels.kernel_process import ShutdownMarker, become_kernel, kill_group, reap_group
from workbench.kernels.orphan_processes import adopt_orphans, kill_all, kill_orphans

LONGEST_MESSAGE = 1 << 17
LATER = "--later"
# jemalloc restarts its background threads by itself after a fork (it registers pthread_atfork handlers).
_FORK_AWARE = ("jemalloc_bg_thd",)


@dataclass
class _Child:
    lifeline: socket.socket
    folder: Path
    is_abandoned: bool = False


class ForkServer:
    """Serves requests on the control socket until it is closed."""

    def __init__(self, control: socket.socket, later: list[str]) -> None:
        self._control = control
        self._later = later
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any] | None:
        """Fork on request. Returns the request in a forked child, None in the server once its owner has ended."""
        while True:
            for key, _ in self._selector.select(0 if self._has_imports_left() else None):
                if key.fileobj is self._control:
                    message, fds = self._receive()
                    if not message:
                        self._kill_all()
                        return None
                    request: dict[str, Any] = json.loads(message)
                    if self._fork(request, socket.socket(fileno=fds[0])):
                        return request
                elif key.fileobj is self._wake:
                    self._wake.recv(4096)
                else:
                    self._abandon(key.data)
            self._reap()
            if self._has_imports_left():
                preload([self._later.pop(0)])  # a kernel that needs a module that fails here fails at its own import

    def _has_imports_left(self) -> bool:
        """Return whether modules are left for after the first fork, and a kernel has been forked."""
        return bool(self._later and self._children)

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, LONGEST_MESSAGE, 1)
        except ConnectionResetError:  # the owner has ended and left a message unread
            return b"", []
        return message, fds

    def _fork(self, request: dict[str, Any], lifeline: socket.socket) -> bool:
        """Fork; True in the child."""
        owner = os.getpid()
        try:
            if threads := unsafe_threads():
                raise OSError(f"the fork server has threads and must not fork: {', '.join(threads)}")
            with warnings.catch_warnings():  # Python 3.12 warns of any thread; `unsafe_threads` has checked them
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError as error:
            _send(lifeline, {"failed": str(error)})
            lifeline.close()
            return False
        if pid == 0:
            lifeline.close()
            self._close_server_ends()
            request["owner"] = owner
            return True
        self._children[pid] = _Child(lifeline, Path(request["connection_file"]).parent)
        self._selector.register(lifeline, selectors.EVENT_READ, pid)
        _send(lifeline, {"pid": pid})
        return False

    def _close_server_ends(self) -> None:
        """In the child: reset the server's signal handlers and close its sockets."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for child in self._children.values():
            child.lifeline.close()
        for end in (self._wake, self._woken, self._control):
            end.close()
        self._selector.close()

    def _abandon(self, pid: int) -> None:
        """Kill a kernel whose owner has closed its lifeline."""
        child = self._children[pid]
        self._selector.unregister(child.lifeline)
        child.is_abandoned = True
        kill_group(pid)

    def _reap(self) -> None:
        for pid, child in list(self._children.items()):
            ended = reap_group(pid)
            if ended is None:
                continue
            del self._children[pid]
            if not child.is_abandoned:
                self._selector.unregister(child.lifeline)
                _send(child.lifeline, {"code": ended[0], "peak_bytes": ended[1]})
            else:
                remove_kernel_folder(child.folder)
            child.lifeline.close()
        kill_orphans(self._children, [str(child.folder) for child in self._children.values()])

    def _kill_all(self) -> None:
        for pid in self._children:
            kill_group(pid)
        kill_all()
        for child in self._children.values():
            remove_kernel_folder(child.folder)


def preload(modules: list[str]) -> dict[str, str]:
    """Import the modules; return those that could not be imported, with the reason."""
    failed: dict[str, str] = {}
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            failed[name] = str(error)
    gc.collect()
    gc.freeze()
    return failed


def unsafe_threads() -> list[str]:
    """Return the names of this process's threads; a lock that one of them holds would stay locked in a forked child."""
    task = Path("/proc/self/task")
    if not task.is_dir():
        return ["threads cannot be listed on this system"]
    names = {int(thread.name): (thread / "comm").read_text().strip() for thread in task.iterdir()}
    return sorted(name for number, name in names.items() if number != os.getpid() and name not in _FORK_AWARE)


def set_up_child(request: dict[str, Any]) -> None:
    """In the child: set session, environment, import path, working folder, output and random seeds."""
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path.extend(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))  # the interpreter has started
    os.chdir(request["folder"])
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    reseed()


def reseed() -> None:
    """Seed the random generators of this process again; Python's `random` does so by itself after a fork."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "faker.generator" in sys.modules:
        sys.modules["faker.generator"].random.seed()


def _send(lifeline: socket.socket, message: dict[str, Any]) -> None:
    try:
        lifeline.send(json.dumps(message).encode())
    except (BrokenPipeError, ConnectionResetError):
        return  # the owner has ended; the selector reports the closed lifeline


def main(arguments: list[str]) -> NoReturn:
    """Arguments: the control socket's descriptor, modules to import, `LATER`, modules to import after a first fork."""
    marker = ShutdownMarker()
    control = socket.socket(fileno=int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    split = arguments.index(LATER)
    failed = preload(arguments[1:split])
    _send(control, {"failed": failed, "threads": unsafe_threads()})
    request = ForkServer(control, arguments[split + 1 :]).serve()
    if request is not None:
        sys.argv = ["kernel", "-f", request["connection_file"]]
        set_up_child(request)
        become_kernel(request["connection_file"], request["owner"], marker)
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
