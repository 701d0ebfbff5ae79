"""PostgreSQL refuses to run as root: for root it runs as an operating system user of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

_NAME = "workbench-pg"
_SEARCH = stat.S_IXOTH


def server_user() -> int | None:
    """Return the user id the server runs under; None: ours, we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_NAME).pw_uid
    except KeyError:
        return _new_user()


def _new_user() -> int:
    """Add the user; where users cannot be added, the one that owns nothing has to do."""
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
    """Let that user walk through to these folders: others may pass, not list, what lies above them."""
    if user is None:
        return
    for folder in folders:
        for path in (folder, *folder.parents):
            mode = path.stat().st_mode
            if not mode & _SEARCH:
                path.chmod(mode | _SEARCH)
