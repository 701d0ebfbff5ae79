"""The state of an embedded service: one small private file, always written whole."""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from workbench.base.durable_files import keep, kept, private_folder
from workbench.base.errors import InvalidSetting
from workbench.services.file_locks import is_locked
from workbench.services.processes import is_alive

STATE = "state.json"
PORT = "port"
START_LOCK = "start.lock"
USERS_LOCK = "users.lock"
SUPERVISOR_LOCK = "keeper.lock"  # earlier versions, which may run on the same home, lock a file of this name
LOG = "log"


class State(BaseModel):
    """Process ids of supervisor and service, the port (None: a unix socket), the URL (may hold a token), or an error.

    Other keys, of another version, are ignored; earlier ones wrote `keeper` for `supervisor`.
    """

    model_config = ConfigDict(frozen=True)

    supervisor: int = Field(validation_alias=AliasChoices("supervisor", "keeper"))
    service: int | None = None
    port: int | None = None
    url: str | None = None
    error: str | None = None

    def write(self, folder: Path) -> None:
        """Replace the file in one step; only its owner can read it."""
        keep(folder / STATE, self.model_dump_json().encode())


def read_state(folder: Path) -> State | None:
    """Return the state that the newest supervisor wrote, whether it still runs or not."""
    return kept(folder / STATE, State.model_validate_json)


def has_supervisor(folder: Path) -> bool:
    """Return whether a supervisor runs: it holds its lock from its start to its end."""
    return folder.is_dir() and is_locked(folder / SUPERVISOR_LOCK)


def read_live_state(folder: Path) -> State | None:
    """Return the state of a service that is up, or None."""
    state = read_state(folder) if has_supervisor(folder) else None  # without a supervisor the file is out of date
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
