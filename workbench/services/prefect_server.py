"""The embedded Prefect server: its API by itself (light), or with its user interface and background services (full).

Both keep their state in one SQLite store below WORKBENCH_HOME. They use no network but loopback.
"""

from __future__ import annotations

import logging
import shutil
import sys
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from workbench.base.durable_files import keep, private_folder, sync
from workbench.base.environment import ENGINE
from workbench.services import file_locks, processes
from workbench.services.prefect import health_status
from workbench.services.service import Service, ServiceKind
from workbench.services.service_file import PORT

log = logging.getLogger(__name__)
_STORE, _UNFINISHED = "prefect.db", "first-migration"
_APP = "workbench.prefect.server_app:create_app"
_MIGRATION_SECONDS = 120.0
_HEALTH_SECONDS = 2.0
_QUIET = {
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
}
_LIGHT = {"PREFECT__SERVER_WEBSERVER_ONLY": "1", "PREFECT_SERVER_UI_ENABLED": "false"}


def prepare(folder: Path, full: bool) -> Service:
    """Return how a server is started. Until it is ready no other starts on this store: both would migrate it."""
    store = private_folder(folder.parent / "prefect" / "store")
    migration = ExitStack()
    migration.enter_context(file_locks.locked(store / "migration.lock", file_locks.EXCLUSIVE, _MIGRATION_SECONDS))
    _begin_store(store)
    shutil.rmtree(folder / "ui", ignore_errors=True)  # Prefect's copy of its page, unsynced: a power loss empties files
    port = processes.same_port(folder / PORT)  # clients and bookmarks stay valid after a restart
    url = f"http://127.0.0.1:{port}/api"
    return Service(
        command=[
            sys.executable, "-m", "uvicorn", "--factory", _APP, "--app-dir", str(ENGINE),
            "--host", "127.0.0.1", "--port", str(port),
            "--log-level", "warning", "--no-access-log", "--no-proxy-headers", "--timeout-graceful-shutdown", "2",
        ],
        environment=processes.plain_environment() | _environment(store, folder, url, full),
        folder=folder,
        url=url,
        is_ready=lambda: _is_ready(url, store, migration),
        port=port,
        clean_up=migration.close,
    )  # fmt: skip


def _environment(store: Path, folder: Path, url: str, full: bool) -> dict[str, str]:
    here = {
        "PREFECT_HOME": str(store),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": url_of(store),
        "PREFECT_UI_STATIC_DIRECTORY": str(folder / "ui"),
    }
    return _QUIET | here | ({} if full else _LIGHT)


def url_of(store: Path) -> str:
    """Return SQLAlchemy's URL of the store in a folder, whatever characters its path holds."""
    return f"sqlite+aiosqlite:///{quote(str(store / _STORE))}"


def _begin_store(store: Path) -> None:
    """Mark a new store as unfinished; remove one that an interrupted first start has left unfinished.

    Some of Prefect's migrations commit half way and fail when they are run again. An unfinished store has never been
    ready, so it holds nothing that a client has written.
    """
    unfinished = store / _UNFINISHED
    if unfinished.exists():
        log.warning("%s: its first migration was interrupted; the store is created again", store / _STORE)
        for name in (f"{_STORE}-wal", f"{_STORE}-shm", _STORE):
            (store / name).unlink(missing_ok=True)
    elif not (store / _STORE).exists():
        keep(unfinished, b"while this file exists the store has never been ready, and is created again\n")


def _finish_store(store: Path) -> None:
    """Remove the mark, after the store has been synced to disk."""
    unfinished = store / _UNFINISHED
    if unfinished.exists():
        for file in (*store.glob(f"{_STORE}*"), store):
            sync(file)
        unfinished.unlink()
        sync(store)


def _is_ready(url: str, store: Path, migration: ExitStack) -> bool:
    healthy = health_status(url, _HEALTH_SECONDS) == HTTPStatus.OK
    if healthy:
        _finish_store(store)
        migration.close()
    return healthy


LIGHT = ServiceKind(prepare=partial(prepare, full=False), start_seconds=120, attempts=3)
FULL = ServiceKind(prepare=partial(prepare, full=True), start_seconds=120, attempts=3)
