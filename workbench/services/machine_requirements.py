"""What an embedded service needs of the machine, checked before it starts, with a message that names the fix."""

from __future__ import annotations

import os
import pwd
import resource
import tempfile
from pathlib import Path

from workbench.base.errors import InvalidSetting

OPEN_FILES = 1_024


def check_user(component: str, setting: str) -> None:
    """Raise `InvalidSetting` when this user has no entry in the system's list, which initdb and Spark's JVM read."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise InvalidSetting(
            f"{setting}: is not set, and the embedded {component} needs a user that the system knows, but user id "
            f"{os.geteuid()} has no entry in /etc/passwd; add one, or name a server of your own"
        ) from None


def check_open_files(component: str, setting: str) -> None:
    """Raise `InvalidSetting` when the limit of open files is too low for a JVM with Spark's 300 archives."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        raise InvalidSetting(
            f"{setting}: is not set, and the embedded {component} needs {OPEN_FILES:,} open files, but the system "
            f"allows {hard:,} (ulimit -Hn); raise the limit, or name a server of your own"
        )


def check_libraries(home: Path, component: str, setting: str) -> None:
    """Raise `InvalidSetting` when the JVM can load its unpacked native libraries from no folder."""
    if library_base(home) is None:
        folders = ", ".join(map(str, (home, *_temporary_folders())))
        raise InvalidSetting(
            f"{setting}: is not set, and the embedded {component} needs a folder that may hold programs, but all of "
            f"these are mounted with noexec: {folders}; set TMPDIR to another, or name a server of your own"
        )


def library_base(near: Path) -> Path | None:
    """Return `near`, or else a folder for temporary files, whose mount allows execution; None: there is none."""
    return next((folder for folder in (near, *_temporary_folders()) if _allows_programs(folder)), None)


def _temporary_folders() -> list[Path]:
    return list(dict.fromkeys(map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp"))))


def _allows_programs(folder: Path) -> bool:
    """Return whether files in the folder, or in its nearest parent that exists, can be written and executed."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(existing, os.W_OK | os.X_OK) and not os.statvfs(existing).f_flag & os.ST_NOEXEC
