"""What the users of an embedded service know about it: one small file, private, always whole."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from workbench.base.durable_files import keep, kept, private_folder
from workbench.base.errors import InvalidSetting
from workbench.services.file_locks import is_locked
from workbench.services.processes import is_alive

STATE = "state.json"
PORT = "port"
START_LOCK = "start.lock"
USERS_LOCK = "users.lock"
KEEPER_LOCK = "keeper.lock"
LOG = "log"


class State(BaseModel):
    """Process ids of keeper and service, the port (None: a unix socket), the URL (may hold a token), or an error.

    What another version wrote beside these is ignored.
    """

    model_config = ConfigDict(frozen=True)

    keeper: int
    service: int | None = None
    port: int | None = None
    url: str | None = None
    error: str | None = None

    def write(self, folder: Path) -> None:
        """Write so that a reader sees the old state or the new one, and no other user of the machine sees any."""
        keep(folder / STATE, self.model_dump_json().encode())


def read_state(folder: Path) -> State | None:
    """Return what the newest keeper wrote, whether it still lives or not."""
    return kept(folder / STATE, State.model_validate_json)


def has_keeper(folder: Path) -> bool:
    """Tell whether a keeper lives: it holds its lock from its first breath to its last."""
    return folder.is_dir() and is_locked(folder / KEEPER_LOCK)


def read_live_state(folder: Path) -> State | None:
    """Return the state of a service that is up, or None."""
    state = read_state(folder) if has_keeper(folder) else None  # without a keeper the file tells of the past
    return state if state is not None and state.service is not None and is_alive(state.service) else None


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
