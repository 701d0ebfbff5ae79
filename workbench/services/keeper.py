"""The keeper: a small process that runs one embedded service for all its users and stops it after the last.

    python -m workbench.services.keeper NAME FOLDER

Every user holds a shared lock on users.lock. The keeper stops the service once it gets that lock for itself: a user
then either is there, which keeps the keeper from stopping, or waits until the keeper has gone. The kernel drops the
locks of the dead, so a killed user counts as gone; a killed keeper takes its service along.
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
from workbench.services.service import Kind, Service
from workbench.services.service_file import KEEPER_LOCK, LOG, STATE, USERS_LOCK, State

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
    """The service did not come up; the message says why."""


class Died(Exception):
    """The service was up and has ended by itself. Unless it is revived, the next user starts a new one."""


class Abandoned(Exception):
    """The last user has gone."""


def kind_of(name: str) -> Kind:
    """Return what is known about this kind of service."""
    module, attribute = KINDS[name].split(":")
    kind: Kind = getattr(importlib.import_module(module), attribute)
    return kind


class Keeper:
    """Starts one service, watches it and its users, and stops it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._users = file_locks.open_lock(folder / USERS_LOCK)

    def keep(self, kind: Kind) -> None:
        """Run the service from start to end; the state file tells the users what became of it."""
        try:
            self._keep(kind)
        except Abandoned:
            return
        except Exception as error:
            State(keeper=os.getpid(), error=str(error) or type(error).__name__).write(self.folder)
            raise

    def _keep(self, kind: Kind) -> None:
        """Run the service; one whose users wait for it under the same URL is started again when it dies (P17)."""
        for _ in range(kind.revivals):
            try:
                self._start(kind)
            except Died as death:
                print(f"{death}; starting it again", flush=True)
        self._start(kind)

    def _start(self, kind: Kind) -> None:
        for _ in range(kind.attempts - 1):
            with suppress(StartFailed):
                self._run(kind.prepare(self.folder), kind.start_seconds)
        self._run(kind.prepare(self.folder), kind.start_seconds)

    def _run(self, service: Service, start_seconds: float) -> None:
        signal.signal(signal.SIGTERM, _leave)
        process = processes.start_child(
            service.command, service.environment, service.folder, service.user, service.death_signal
        )
        try:
            self._await_ready(process, service, start_seconds)
            state = State(keeper=os.getpid(), service=process.pid, port=service.port, url=service.url)
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
                raise StartFailed(f"was not ready after {seconds:g} s")
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
        raise Died(f"ended with exit code {process.returncode}")

    def _check_users(self) -> None:
        """Raise `Abandoned` when no user is left; from then on none can come until this process has ended."""
        if file_locks.try_lock(self._users, file_locks.EXCLUSIVE):
            raise Abandoned


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise Abandoned


def _detach(folder: Path) -> None:
    """Leave the parent's session; the parent returns once the lock that says a keeper lives is taken."""
    keeper_lock = file_locks.open_lock(folder / KEEPER_LOCK)
    if not file_locks.wait_for_lock(keeper_lock, file_locks.EXCLUSIVE, _LOCK_SECONDS):
        raise SystemExit(f"{folder}: another keeper does not end")
    file_locks.survive_fork(keeper_lock)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir(folder)
    keep_small(folder / LOG)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)


def main(name: str, folder: Path) -> None:
    """Become the keeper of one service."""
    _detach(folder)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes.adopt_orphans()
    Keeper(folder).keep(kind_of(name))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
