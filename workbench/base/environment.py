"""Where the project lies, and the environment of our processes and kernels.

That environment is the shell's, without what would change how a component works, and it names the project.
`passed_on` is a list of what does not pass, since notebooks may read any variable (AWS_PROFILE …). The servers of
others (PostgreSQL, Spark, Prefect) get a list of what does: see `services.processes.plain_environment`.
docs/components.md lists both.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from workbench.base.errors import NoProject

DECLARATION = "pipeline.toml"
PROJECT_VARIABLE = "WORKBENCH_PROJECT"
ENGINE = Path(__file__).resolve().parents[2]  # the folder that holds the package `workbench`
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


def find_project(environment: Mapping[str, str]) -> Path | None:
    """Return the project's folder, None without one.

    It is WORKBENCH_PROJECT; else the nearest folder at or above the working directory that holds a pipeline.toml of
    this user or root (another user's would run that user's code); else the checkout in which the engine lies.
    """
    if named := environment.get(PROJECT_VARIABLE):
        return Path(named).expanduser().absolute()
    if found := next((folder for folder in _above(_working_folder()) if _is_trusted(folder / DECLARATION)), None):
        return found
    return ENGINE if (ENGINE / DECLARATION).is_file() else None


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it has been removed
        return None


def _above(folder: Path | None) -> tuple[Path, ...]:
    return (folder, *folder.parents) if folder else ()


def _is_trusted(declaration: Path) -> bool:
    try:
        found = declaration.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid in (0, os.geteuid())


_FOUND = find_project(os.environ)
HAS_PROJECT = _FOUND is not None and (_FOUND / DECLARATION).is_file()
PROJECT = _FOUND or ENGINE


def check_project() -> None:
    """Raise `NoProject` where there is none; help needs none."""
    if HAS_PROJECT:
        return
    if os.environ.get(PROJECT_VARIABLE):
        raise NoProject(f"{PROJECT_VARIABLE}: there is no {DECLARATION} in {PROJECT}; name the folder that holds it")
    raise NoProject(
        f"no project: {_working_folder() or 'the working directory'} and the folders above it hold no {DECLARATION} "
        f"of yours; change to the project's folder, or set {PROJECT_VARIABLE}"
    )


def put_project_on_path() -> None:
    """Let Python find the project's modules first, and the engine from wherever it was started."""
    if str(ENGINE) not in sys.path:
        sys.path.insert(0, str(ENGINE))
    if str(PROJECT) in sys.path:
        sys.path.remove(str(PROJECT))
    sys.path.insert(0, str(PROJECT))


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what our processes and kernels get of `environment`, with the project: text is UTF-8, loopback direct."""
    named = _named_prefixes(environment)
    kept = {name: value for name, value in environment.items() if not _is_withheld(name, named)}
    project = {PROJECT_VARIABLE: str(PROJECT)} if HAS_PROJECT else {}
    return kept | project | {"PYTHONUTF8": "1"} | _person(kept) | _no_proxy(kept)


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
