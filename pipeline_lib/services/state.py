"""What the users of an embedded service know about it: one small file, private, always whole."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline_lib.artefacts import private_folder
from pipeline_lib.errors import InvalidSetting
from pipeline_lib.services.locks import is_locked
from pipeline_lib.services.processes import is_alive

STATE = "state.json"
START_LOCK = "start.lock"
USERS_LOCK = "users.lock"
KEEPER_LOCK = "keeper.lock"
LOG = "log"


@dataclass(frozen=True)
class State:
    """Process ids of keeper and service, the port (None: a unix socket), the URL (may hold a token), or an error."""

    keeper: int
    service: int | None = None
    port: int | None = None
    url: str | None = None
    error: str | None = None

    def write(self, folder: Path) -> None:
        """Write so that a reader sees the old state or the new one, and no other user of the machine sees any."""
        temporary = folder / f".{STATE}.{secrets.token_hex(4)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        temporary.replace(folder / STATE)


def read_state(folder: Path) -> State | None:
    """Return what the newest keeper wrote, whether it still lives or not."""
    try:
        return State(**json.loads((folder / STATE).read_text("utf-8")))
    except FileNotFoundError:
        return None


def has_keeper(folder: Path) -> bool:
    """Tell whether a keeper lives: it holds its lock from its first breath to its last."""
    return folder.is_dir() and is_locked(folder / KEEPER_LOCK)


def read_live_state(folder: Path) -> State | None:
    """Return the state of a service that is up, or None."""
    state = read_state(folder)
    if state is None or state.service is None or not has_keeper(folder) or not is_alive(state.service):
        return None
    return state


def service_folder(home: Path, name: str) -> Path:
    """Return the private folder of an embedded service, made if needed; raises `InvalidSetting`."""
    folder = home / "services" / name
    try:
        private_folder(folder)
        (folder / LOG).touch(mode=0o600)
    except OSError as error:
        raise InvalidSetting(
            f"WORKBENCH_HOME {home}: cannot be written ({error.strerror}); set it to a folder of your own"
        ) from error
    return folder
