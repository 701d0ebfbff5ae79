"""Use an embedded service, shared with every other process of the same WORKBENCH_HOME."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.base.environment import passed_on
from workbench.base.errors import ServiceUnavailable
from workbench.services import file_locks
from workbench.services.home_identity import identity_of
from workbench.services.service_file import (
    LOG,
    START_LOCK,
    STATE,
    USERS_LOCK,
    State,
    has_supervisor,
    read_live_state,
    read_state,
    service_folder,
)

_IMPORT_FROM = Path(__file__).resolve().parents[2]
_WAIT_SECONDS = 180.0
_PAUSE = 0.03


@contextmanager
def held(name: str, home: Path, given_up: threading.Event | None = None) -> Iterator[State]:
    """Hold the service while the block lasts, started if need be; it stops after its last user.

    Safe in threads; another thread sets `given_up` to abandon the start. Raises
    `ServiceUnavailable` when it does not start, `InvalidSetting` when `home` is not writable.
    """
    folder = service_folder(home, name)
    identity_of(home)
    users = file_locks.open_lock(folder / USERS_LOCK)
    try:
        yield _join(name, folder, users, given_up or threading.Event())
    finally:
        file_locks.release(users)


@contextmanager
def held_if_live(name: str, home: Path) -> Iterator[State | None]:
    """Hold the service while the block lasts if it is up, else yield None; never starts it."""
    folder = home / "services" / name
    if not folder.is_dir():
        yield None
        return
    identity_of(home)
    users = file_locks.open_lock(folder / USERS_LOCK)
    try:
        yield read_live_state(folder) if file_locks.try_lock(users, file_locks.SHARED) else None
    finally:
        file_locks.release(users)


def _join(name: str, folder: Path, users: int, given_up: threading.Event) -> State:
    """Become a user: one process at a time, and only after a supervisor that is stopping has ended."""
    try:
        with file_locks.locked(folder / START_LOCK, file_locks.EXCLUSIVE, _WAIT_SECONDS):
            if not file_locks.wait_for_lock(users, file_locks.SHARED, _WAIT_SECONDS):
                raise ServiceUnavailable(f"{name}: its previous process does not stop; see {folder / LOG}")
            return _live_or_started(name, folder, given_up)
    except TimeoutError as error:
        raise ServiceUnavailable(f"{name}: another process has not finished starting it; {error}") from error


def _live_or_started(name: str, folder: Path, given_up: threading.Event) -> State:
    """Return the running service's state, else start it. A supervisor without a service is starting or stopping."""
    started = False
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        state = read_live_state(folder)
        if state is not None:
            return state
        if not has_supervisor(folder):
            if started:
                raise _failure(name, folder)
            _spawn_supervisor(name, folder)
            started = True
        if given_up.wait(_PAUSE):
            raise ServiceUnavailable(f"{name}: the start was abandoned")
    raise ServiceUnavailable(f"{name}: not ready after {_WAIT_SECONDS:g} s; see {folder / LOG}")


def _spawn_supervisor(name: str, folder: Path) -> None:
    """Start a supervisor; returns when it holds its lock and has detached itself."""
    (folder / STATE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "workbench.services.service_supervisor", name, str(folder)]
    with (folder / LOG).open("ab") as log:
        done = subprocess.run(
            command,
            env=passed_on(os.environ),
            cwd=_IMPORT_FROM,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        raise _failure(name, folder)


def _failure(name: str, folder: Path) -> ServiceUnavailable:
    state = read_state(folder)
    reason = state.error if state is not None and state.error else "did not start"
    return ServiceUnavailable(f"{name}: {reason}; see {folder / LOG}")
