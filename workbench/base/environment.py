"""The environment of our processes and kernels: the shell's, without what would change how a component works.

`passed_on` is a list of what does not pass, since notebooks may read any variable (AWS_PROFILE …). The servers of
others (PostgreSQL, Spark, Prefect) get a list of what does: see `services.processes.plain_environment`.
docs/components.md lists both.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WITHHELD_PREFIXES = (
    "DBT_", "GRPC_", "HADOOP_", "OTEL_", "PG", "PLOTLY_", "POLARS_", "PREFECT_", "PYSPARK_", "PYTHON",
    "SPARK_", "UVICORN_",
)  # fmt: skip
_WITHHELD = frozenset(
    {
        "CLASSPATH", "FORWARDED_ALLOW_IPS", "JAVA_OPTS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "JPY_PARENT_PID",
        "WEB_CONCURRENCY", "YARN_CONF_DIR", "_JAVA_OPTIONS",
    }
)  # fmt: skip
_PASSED = frozenset(
    {
        "POLARS_MAX_THREADS", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONPYCACHEPREFIX",
        "PYTHONUNBUFFERED", "SPARK_REMOTE",
    }
)  # fmt: skip
# What belongs to a server that a setting names passes together with that setting.
_PASSED_WITH: Mapping[str, tuple[str, ...]] = {
    "DATABASE_URL": (
        "PGPASSWORD", "PGPASSFILE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGSSL", "PGKRB", "PGGSS", "PGREQUIRE",
        "PGCHANNELBINDING", "PGCONNECT_TIMEOUT",
    ),
    "PREFECT_API_URL": ("PREFECT_API_", "PREFECT_CLIENT_"),
}  # fmt: skip
# These are read when an interpreter starts, so only a new one is without them.
_READ_LATER = frozenset({"PYTHONSTARTUP", "PYTHONIOENCODING", "PYTHONBREAKPOINT"})


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the part of `environment` that our processes and kernels get: text is UTF-8, loopback has no proxy."""
    named = _named_prefixes(environment)
    kept = {name: value for name, value in environment.items() if not _is_withheld(name, named)}
    return kept | {"PYTHONUTF8": "1"} | _person(kept) | _no_proxy(kept)


def is_read_at_start(environment: Mapping[str, str]) -> bool:
    """Return whether this interpreter has started with a variable that our processes must not have."""
    return any(
        name.startswith("PYTHON") and name not in _READ_LATER | {"PYTHONUTF8"} and _is_withheld(name, ())
        for name in environment
    )


def _is_withheld(name: str, named: tuple[str, ...]) -> bool:
    if name in _PASSED or name.startswith(named):
        return False
    return name in _WITHHELD or name.startswith(_WITHHELD_PREFIXES)


def _named_prefixes(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return what passes because a setting names the server it belongs to, in the environment or in `.env`."""
    in_file = _names_in(PROJECT / ".env")
    named = {setting for setting in _PASSED_WITH if environment.get(setting) or setting in in_file}
    return tuple(prefix for setting in named for prefix in (setting, *_PASSED_WITH[setting]))


def _names_in(file: Path) -> set[str]:
    """Return the names that have a value in a file of settings; reading it in full would cost an import of 50 ms."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return set()
    parts = (line.strip().removeprefix("export ").partition("=") for line in lines)
    return {name.strip().upper() for name, _, value in parts if value.strip(" '\"")}


def _person(environment: Mapping[str, str]) -> dict[str, str]:
    """Return a name and a home for a user id without an entry in the system's list of users, as in some containers."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return {name: environment.get(name) or value for name, value in _NOBODY.items()}
    return {}


_NOBODY = {"USER": "workbench", "LOGNAME": "workbench", "HOME": "/"}


def _no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep our own addresses from a proxy; none where no proxy is set."""
    if not any(name.lower().endswith("_proxy") for name in environment):
        return {}
    former = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host for host in map(str.strip, former.split(",")) if host]
    hosts += [host for host in _LOOPBACK if host not in hosts]
    return dict.fromkeys(("no_proxy", "NO_PROXY", "no_grpc_proxy"), "*" if "*" in hosts else ",".join(hosts))
