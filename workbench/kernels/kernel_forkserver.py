"""The nursery's own process: imports the heavy modules once, then forks one kernel per request.

It talks to its owner over two kinds of unix sockets, both message-preserving and inherited, never on a path:
the control socket brings requests, each with the end of a lifeline; over the lifeline go the kernel's pid and, when
it has ended, its exit code and peak memory. A lifeline closed by the owner kills its kernel; a closed control socket
(the owner has ended, however) kills all kernels and ends the nursery.

Only a process without threads of Python or of computing libraries may fork; see `unsafe_threads`. What no first
stage needs is imported once the first kernel is forked.
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
from workbench.kernels.kernel_process import Farewell, become_kernel, kill_group, reap_group
from workbench.kernels.orphan_processes import adopt_orphans, end_all, end_strays

LONGEST_MESSAGE = 1 << 17
LATER = "--later"
# jemalloc restarts its background threads by itself after a fork (it registers pthread_atfork handlers).
_FORK_AWARE = ("jemalloc_bg_thd",)


@dataclass
class _Child:
    lifeline: socket.socket
    folder: Path
    orphaned: bool = False


class Nursery:
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
        """Fork on request. Returns the request in the forked child, None in the nursery once its owner is gone."""
        while True:
            for key, _ in self._selector.select(0 if self._is_to_import() else None):
                if key.fileobj is self._control:
                    message, fds = self._receive()
                    if not message:
                        self._end()
                        return None
                    request: dict[str, Any] = json.loads(message)
                    if self._fork(request, socket.socket(fileno=fds[0])):
                        return request
                elif key.fileobj is self._wake:
                    self._wake.recv(4096)
                else:
                    self._orphan(key.data)
            self._reap()
            if self._is_to_import():
                preload([self._later.pop(0)])  # who needs what cannot be imported hears of it from its own import

    def _is_to_import(self) -> bool:
        """Tell whether there is something to import that the first kernel did not have to wait for."""
        return bool(self._later and self._children)

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, LONGEST_MESSAGE, 1)
        except ConnectionResetError:  # the owner is gone and has left something unread
            return b"", []
        return message, fds

    def _fork(self, request: dict[str, Any], lifeline: socket.socket) -> bool:
        """Fork; True in the child."""
        owner = os.getpid()
        try:
            if threads := unsafe_threads():
                raise OSError(f"the nursery has threads and must not fork: {', '.join(threads)}")
            with warnings.catch_warnings():  # Python 3.12 warns of any thread; these were looked at one by one
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
        except OSError as error:
            _tell(lifeline, {"failed": str(error)})
            lifeline.close()
            return False
        if pid == 0:
            lifeline.close()
            self._leave()
            request["owner"] = owner
            return True
        self._children[pid] = _Child(lifeline, Path(request["connection_file"]).parent)
        self._selector.register(lifeline, selectors.EVENT_READ, pid)
        _tell(lifeline, {"pid": pid})
        return False

    def _leave(self) -> None:
        """In the child: let go of everything that is the nursery's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for child in self._children.values():
            child.lifeline.close()
        for end in (self._wake, self._woken, self._control):
            end.close()
        self._selector.close()

    def _orphan(self, pid: int) -> None:
        child = self._children[pid]
        self._selector.unregister(child.lifeline)
        child.orphaned = True
        kill_group(pid)

    def _reap(self) -> None:
        for pid, child in list(self._children.items()):
            ended = reap_group(pid)
            if ended is None:
                continue
            del self._children[pid]
            if not child.orphaned:
                self._selector.unregister(child.lifeline)
                _tell(child.lifeline, {"code": ended[0], "peak_bytes": ended[1]})
            else:
                remove_kernel_folder(child.folder)
            child.lifeline.close()
        end_strays(self._children, [str(child.folder) for child in self._children.values()])

    def _end(self) -> None:
        for pid in self._children:
            kill_group(pid)
        end_all()
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
    """Return the names of threads of this process that a fork would cut off in the middle of something."""
    task = Path("/proc/self/task")
    if not task.is_dir():
        return ["threads cannot be listed on this system"]
    names = {int(thread.name): (thread / "comm").read_text().strip() for thread in task.iterdir()}
    return sorted(name for number, name in names.items() if number != os.getpid() and name not in _FORK_AWARE)


def settle(request: dict[str, Any]) -> None:
    """In the child: own session, environment, folder, output, random numbers."""
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
    """Give this process random numbers of its own; Python's `random` sees to itself after a fork."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "faker.generator" in sys.modules:
        sys.modules["faker.generator"].random.seed()


def _tell(lifeline: socket.socket, message: dict[str, Any]) -> None:
    try:
        lifeline.send(json.dumps(message).encode())
    except (BrokenPipeError, ConnectionResetError):
        return  # the owner is gone; the selector reports the closed lifeline


def main(arguments: list[str]) -> NoReturn:
    """Arguments: the control socket's descriptor, modules to import, `LATER`, modules to import after a first fork."""
    farewell = Farewell()
    control = socket.socket(fileno=int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt_orphans()
    split = arguments.index(LATER)
    failed = preload(arguments[1:split])
    _tell(control, {"failed": failed, "threads": unsafe_threads()})
    request = Nursery(control, arguments[split + 1 :]).serve()
    if request is not None:
        sys.argv = ["kernel", "-f", request["connection_file"]]
        settle(request)
        become_kernel(request["connection_file"], request["owner"], farewell)
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
