"""A small process that runs one embedded service for all its users and stops it after the last.

    python -m workbench.services.service_supervisor NAME FOLDER

Every user holds a shared lock on users.lock. The supervisor stops the service once it gets that lock exclusively: a
user either has joined before, which prevents the stop, or waits until the supervisor has ended. The kernel releases
the locks of dead processes, so a killed user counts as gone. A killed supervisor takes its service along.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from workbench.services import file_locks, processes
from workbench.services.log_files import keep_small
from workbench.services.service import Service, ServiceKind
from workbench.services.service_file import LOG, STATE, SUPERVISOR_LOCK, USERS_LOCK, State

KINDS = {
    "postgres": "workbench.services.postgres_server:POSTGRES",
    "spark": "workbench.services.spark_server:SPARK",
    "prefect": "workbench.services.prefect_server:LIGHT",
    "prefect-full": "workbench.services.prefect_server:FULL",
}
_LOCK_SECONDS = 30.0
_LOOK_SECONDS = 0.4
_READY_SECONDS = 0.05


class StartFailed(Exception):
    """The service did not start; the message says why."""


class ServiceDied(Exception):
    """The service was up and has ended by itself. Unless it is restarted here, the next user starts a new one."""


class NoUsersLeft(Exception):
    """The last user has ended, or SIGTERM asks for the end."""


def kind_of(name: str) -> ServiceKind:
    """Return how this kind of service is run."""
    module, attribute = KINDS[name].split(":")
    kind: ServiceKind = getattr(importlib.import_module(module), attribute)
    return kind


class ServiceSupervisor:
    """Starts one service, watches it and its users, and stops it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._users = file_locks.open_lock(folder / USERS_LOCK)

    def run(self, kind: ServiceKind) -> None:
        """Run the service from start to end; writes an error to the state file, for the users."""
        try:
            self._run_and_restart(kind)
        except NoUsersLeft:
            return
        except Exception as error:
            State(supervisor=os.getpid(), error=str(error) or type(error).__name__).write(self.folder)
            raise

    def _run_and_restart(self, kind: ServiceKind) -> None:
        """Run the service, and restart one that keeps its URL after it has died (P17)."""
        for _ in range(kind.revivals):
            try:
                self._start(kind)
            except ServiceDied as death:
                print(f"{death}; restarting it", flush=True)
        self._start(kind)

    def _start(self, kind: ServiceKind) -> None:
        for _ in range(kind.attempts - 1):
            with suppress(StartFailed):
                self._run_once(kind.prepare(self.folder), kind.start_seconds)
        self._run_once(kind.prepare(self.folder), kind.start_seconds)

    def _run_once(self, service: Service, start_seconds: float) -> None:
        signal.signal(signal.SIGTERM, _stop)
        process = processes.start_child(
            service.command, service.environment, service.folder, service.user, service.death_signal
        )
        try:
            self._await_ready(process, service, start_seconds)
            state = State(supervisor=os.getpid(), service=process.pid, port=service.port, url=service.url)
            state.write(self.folder)
            self._watch(process)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            (self.folder / STATE).unlink(missing_ok=True)
            processes.stop_child(process, service.stop_signal, service.stop_seconds)
            service.clean_up()

    def _await_ready(self, process: subprocess.Popen[bytes], service: Service, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not service.is_ready():
            if process.poll() is not None:
                raise StartFailed(f"ended with exit code {process.returncode} while starting")
            if time.monotonic() > deadline:
                raise StartFailed(f"not ready after {seconds:g} s")
            self._check_users()
            time.sleep(_READY_SECONDS)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            self._check_users()
            keep_small(self.folder / LOG)
            try:
                process.wait(_LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        raise ServiceDied(f"ended with exit code {process.returncode}")

    def _check_users(self) -> None:
        """Raise `NoUsersLeft` when no user is left; from then on none can join until this process has ended."""
        if file_locks.try_lock(self._users, file_locks.EXCLUSIVE):
            raise NoUsersLeft


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise NoUsersLeft


def _detach(folder: Path) -> None:
    """Leave the parent's session; the parent exits once the supervisor's lock is taken."""
    lock = file_locks.open_lock(folder / SUPERVISOR_LOCK)
    if not file_locks.wait_for_lock(lock, file_locks.EXCLUSIVE, _LOCK_SECONDS):
        raise SystemExit(f"{folder}: another supervisor does not end")
    file_locks.survive_fork(lock)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir(folder)
    keep_small(folder / LOG)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)


def main(name: str, folder: Path) -> None:
    """Supervise one service until its last user has ended."""
    _detach(folder)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes.adopt_orphans()
    ServiceSupervisor(folder).run(kind_of(name))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
