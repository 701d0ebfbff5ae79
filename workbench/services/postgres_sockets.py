"""The folder of the embedded PostgreSQL's socket: below its home, or, where that path is too long, a temporary one.

Nothing but the server's own two files is ever removed from it, and a temporary one is taken for ours only when its
name holds this home's id and its owner is us or the server's user.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from workbench.base.connection_uri import DEFAULT_PORT
from workbench.services.identity import identity_of
from workbench.services.postgres_user import give
from workbench.services.temporary import kept_temporary_folder

SOCKET_NAME = f".s.PGSQL.{DEFAULT_PORT}"
_FILES = (SOCKET_NAME, f"{SOCKET_NAME}.lock")
_SOCKET_PATH_BYTES = 107
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
_LONGEST_TEMPORARY = 60


def socket_folder(folder: Path, user: int | None) -> Path:
    """Return a private folder without a socket whose path is short and plain enough for the kernel and for libpq.

    It is the same as before if it can be had: users wait for the server there. `folder` is the service's,
    WORKBENCH_HOME/services/postgres; `user` is the server's, None: ours.
    """
    near = folder / "socket"
    fits = _PLAIN_PATH.fullmatch(str(near)) and len(os.fsencode(near / SOCKET_NAME)) <= _SOCKET_PATH_BYTES
    sockets = _made(near) if fits else _temporary(identity_of(folder.parents[1]), user)
    _remove_files(sockets)
    give(sockets, user)
    return sockets


def remove_socket_folder(sockets: Path) -> None:
    """Remove what the server has left, and the folder if nothing else lies there."""
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
