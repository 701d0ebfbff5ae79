"""What an embedded service needs of the machine, looked at before it starts; its own message would help nobody."""

from __future__ import annotations

import os
import pwd
import resource

from pipeline_lib.errors import InvalidSetting

OPEN_FILES = 1_024


def check_user(component: str, setting: str) -> None:
    """Raise `InvalidSetting` when this user has no entry in the system's list, which initdb and Spark's JVM look up."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise InvalidSetting(
            f"{setting}: is not set, and the embedded {component} needs a user that the system knows, but user id "
            f"{os.geteuid()} has no entry in /etc/passwd; add one, or name a server of your own"
        ) from None


def check_open_files(component: str, setting: str) -> None:
    """Raise `InvalidSetting` when a process may open too few files for a JVM with Spark's 300 archives."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        raise InvalidSetting(
            f"{setting}: is not set, and the embedded {component} needs {OPEN_FILES:,} open files, but the system "
            f"allows {hard:,} (ulimit -Hn); raise the limit, or name a server of your own"
        )
