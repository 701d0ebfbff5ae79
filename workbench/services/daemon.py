"""The group of `workbench up` as commands see it: start it, read its state, stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from workbench.base.durable_files import keep, kept, private_folder
from workbench.base.environment import passed_on
from workbench.base.errors import ServiceUnavailable
from workbench.base.settings import PROJECT, Settings
from workbench.services import file_locks
from workbench.services.components import services_of
from workbench.services.home_identity import identity_of
from workbench.services.log_files import open_log
from workbench.services.service_file import has_supervisor

LOCK, STATE = "up.lock", "state.json"
STARTING, UP, ENDING, FAILED = "starting", "up", "ending", "failed"
_START_SECONDS = 240.0
_STOP_SECONDS = 45.0
_SERVICES_SECONDS = 12.0
_PAUSE = 0.1


class ComponentState(BaseModel):
    """One component: `kind` is service or program, `status` starting, up, down or external.

    `restarts` counts how often it was restarted.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str = ""
    status: str
    pid: int | None = None
    restarts: int = 0
    address: str = ""
    log: str = ""


class GroupState(BaseModel):
    """What the supervisor reports: its process, its phase (starting, up, ending, failed), its components."""

    model_config = ConfigDict(frozen=True)

    pid: int
    phase: str
    components: tuple[ComponentState, ...] = ()
    error: str = ""

    def write(self, folder: Path) -> None:
        """Replace the file in one step, so that a reader sees the old state or the new one."""
        keep(folder / STATE, self.model_dump_json().encode())


def group_folder(settings: Settings) -> Path:
    """Return the supervisor's folder, made if needed."""
    folder = private_folder(settings.home / "services" / "up")
    identity_of(settings.home)
    return folder


def look(settings: Settings) -> GroupState | None:
    """Return the state of the group, None when it is down."""
    folder = settings.home / "services" / "up"
    if not (folder / LOCK).exists():
        return None
    identity_of(settings.home)
    if not file_locks.is_locked(folder / LOCK):
        return None
    return _read(folder)


def start(settings: Settings, on_change: Callable[[GroupState], None]) -> GroupState:
    """Start the supervisor unless it runs, and wait until all is ready; calls `on_change` with each new state.

    Raises `ServiceUnavailable` with the reason when a component does not start; nothing is left running then.
    """
    folder, known = group_folder(settings), None
    process = None if file_locks.is_locked(folder / LOCK) else _spawn(settings, folder)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        state = _read(folder)
        if state is not None and state != known:
            on_change(known := state)
        if state is not None and state.phase == UP:
            return state
        if not file_locks.is_locked(folder / LOCK) and (process is None or process.poll() is not None):
            raise ServiceUnavailable(state.error if state and state.error else f"not up; see {log_of(settings)}")
        time.sleep(_PAUSE)
    raise ServiceUnavailable(f"not up after {_START_SECONDS:g} s; see {log_of(settings)}, `workbench down` stops it")


def stop(settings: Settings) -> bool:
    """Stop the group and wait for its end; False when it was down. Services with other users continue."""
    folder = group_folder(settings)
    state = look(settings)
    if state is None:
        return False
    _signal(state.pid, signal.SIGTERM)
    if not _until(lambda: not file_locks.is_locked(folder / LOCK), _STOP_SECONDS):
        _signal(state.pid, signal.SIGKILL)
        _until(lambda: not file_locks.is_locked(folder / LOCK), _STOP_SECONDS)
    _until(lambda: not services_left(settings), _SERVICES_SECONDS)
    return True


def services_left(settings: Settings) -> list[str]:
    """Return the embedded services that are up."""
    folders = {service.name: service.folder for service in services_of(settings)}
    return [name for name, folder in folders.items() if folder and folder.is_dir() and has_supervisor(folder)]


def _spawn(settings: Settings, folder: Path) -> subprocess.Popen[bytes]:
    (folder / STATE).unlink(missing_ok=True)
    command = [sys.executable, "-m", "workbench.services.supervisor"]
    environment = passed_on(os.environ) | {"WORKBENCH_HOME": str(settings.home)}
    with open_log(log_of(settings)) as log:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def log_of(settings: Settings) -> Path:
    """Return the supervisor's log."""
    return settings.home / "logs" / "up.log"


def _read(folder: Path) -> GroupState | None:
    return kept(folder / STATE, GroupState.model_validate_json)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _until(reached: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True
