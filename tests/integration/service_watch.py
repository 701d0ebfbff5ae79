"""What tests see of embedded services: supervisors, their descendants, and where those listen."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from workbench.services.service_file import read_state

USER = """
import sys
from pathlib import Path
from workbench.services import embedded
with embedded.held(sys.argv[1], Path(sys.argv[2])) as state:
    print(state.url, flush=True)
    sys.stdin.read()
"""


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Look again and again until the condition holds; tell whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def other_user(name: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses a service: it has it when the block begins, and leaves in good order at its end."""
    command = [sys.executable, "-c", USER, name, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        assert user.stdout.readline()
        yield user


def supervisor_of(name: str, home: Path) -> psutil.Process:
    """Return the supervisor of a service that is up."""
    state = read_state(home / "services" / name)
    assert state is not None
    return psutil.Process(state.supervisor)


def family_of(name: str, home: Path) -> list[psutil.Process]:
    """Return the supervisor of a service and all that descends from it."""
    supervisor = supervisor_of(name, home)
    return [supervisor, *supervisor.children(recursive=True)]


def supervisors_below(home: Path) -> list[psutil.Process]:
    """Return every supervisor that works for this WORKBENCH_HOME."""
    return [each for each in processes_below(home) if "workbench.services.service_supervisor" in each.info["cmdline"]]


def processes_below(home: Path) -> list[psutil.Process]:
    """Return every process that has this WORKBENCH_HOME in its command line."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if any(str(home) in part for part in process.info["cmdline"] or [])]


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def listening_addresses(processes: list[psutil.Process]) -> set[str]:
    """Return the addresses on which these processes accept TCP connections."""
    return {address for process in processes for address in _addresses(process)}


def _addresses(process: psutil.Process) -> set[str]:
    try:
        connections = process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return set()
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
