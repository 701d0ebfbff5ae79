"""Child processes of a supervisor: they die with it, and are stopped within a time limit. Ports of loopback."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from workbench.base.durable_files import keep, kept
from workbench.base.environment import passed_on

_LOOPBACK = ("127.0.0.1", "::1")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PLAIN = frozenset({"PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "LD_LIBRARY_PATH"})


def die_with_parent(with_signal: int) -> Callable[[], None]:
    """Return a function for a child to call before exec, so that it gets the signal when its parent dies (Linux)."""
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def before_exec() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(with_signal))
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def end_with_parent(parent: int, with_signal: int) -> None:
    """Have the system send this process the signal when its parent dies (Linux); at once if it has died already.

    On Linux the end of the parent's thread that started this process counts.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(with_signal))
    if os.getppid() != parent:
        os.kill(os.getpid(), with_signal)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that all can be killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def start_child(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, user: int | None, death_signal: int
) -> subprocess.Popen[bytes]:
    """Start a child in `folder`, in its own process group, with our stdout and stderr."""
    identity: dict[str, Any] = {} if user is None else {"user": user, "group": user_group(user), "extra_groups": []}
    return subprocess.Popen(
        command,
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=die_with_parent(death_signal),  # safe: the supervisor has one thread
        **identity,
    )


def user_group(user: int) -> int:
    """Return the primary group of an operating system user."""
    import pwd

    return pwd.getpwuid(user).pw_gid


def stop_child(process: subprocess.Popen[bytes], with_signal: int, seconds: float) -> None:
    """Send the child a signal, wait so many seconds, then kill it and all descendants that are left."""
    if process.poll() is None:
        process.send_signal(with_signal)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    kill_descendants()


def kill_descendants() -> None:
    """Kill and reap all descendants of this process."""
    left = psutil.Process().children(recursive=True)
    for process in left:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=5)


def is_alive(pid: int) -> bool:
    """Return whether the process exists and has not ended (a zombie has)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def plain_environment() -> dict[str, str]:
    """Return the part of our environment for other projects' servers: no credential, no setting of a component."""
    ours = passed_on(os.environ)
    return {name: value for name, value in ours.items() if name in _PLAIN or name.startswith("LC_")}


def free_port() -> int:
    """Return a TCP port that is free on loopback now; another process may take it before the caller does."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def same_port(remembered: Path) -> int:
    """Return the port stored in the file `remembered` if it is free, else a new one, which is stored."""
    last = kept(remembered, _port)
    if last is not None and _is_free(last):
        return last
    port = free_port()
    keep(remembered, str(port).encode())
    return port


def _port(content: bytes) -> int:
    port = int(content)
    if not 0 < port < 1 << 16:
        raise ValueError("no TCP port")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def accepts_connections(host: str, port: int, seconds: float = 1.0) -> bool:
    """Return whether a server listens there; `localhost` need not be in /etc/hosts."""
    for address in _LOOPBACK if host == "localhost" else (host,):
        with suppress(OSError), socket.create_connection((address, port), seconds):
            return True
    return False
