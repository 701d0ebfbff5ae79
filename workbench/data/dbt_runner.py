"""Calls dbt inside this process: one call at a time, quiet, its files in the run's folder, its secrets in no file."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2.extensions import ConnectionInfo

from workbench.base.errors import ModelTestFailed, ServiceUnavailable
from workbench.base.settings import DBT_PROJECT
from workbench.data.dbt_results import error_of
from workbench.stage.progress import Progress, silent

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunExecutionResult

NODES = "models and tests"
_alone = threading.Lock()
_SECONDS_BETWEEN_CALLS = 0.2

# What a database URL may hold beyond the profile's five fields, and libpq's own variable for it.
_LIBPQ_VARIABLES = {
    "application_name": "PGAPPNAME",
    "channel_binding": "PGCHANNELBINDING",
    "client_encoding": "PGCLIENTENCODING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "gssencmode": "PGGSSENCMODE",
    "options": "PGOPTIONS",
    "passfile": "PGPASSFILE",
    "sslcert": "PGSSLCERT",
    "sslcrl": "PGSSLCRL",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


@dataclass(frozen=True)
class DbtCall:
    """One call of dbt: which command, with which environment, leaving its files in which folder.

    `environment` comes from `profile_environment`; `variables` are dbt's own, as JSON values.
    """

    command: str
    environment: Mapping[str, str] = field(repr=False)
    folder: Path
    threads: int
    variables: Mapping[str, Any]

    @property
    def target(self) -> Path:
        """Where dbt writes manifest.json, run_results.json and the compiled SQL."""
        return self.folder / "target"

    def arguments(self) -> list[str]:
        """Return the command line. It holds no credential: dbt writes its command line into its files."""
        return [
            *("--quiet", "--log-level", "none", "--log-level-file", "debug", "--no-use-colors", "--write-json"),
            self.command,
            *("--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)),
            *("--target-path", str(self.target), "--log-path", str(self.folder / "logs")),
            *("--threads", str(self.threads), "--vars", json.dumps(dict(self.variables))),
        ]


def profile_environment(info: ConnectionInfo, schema: str) -> dict[str, str]:
    """Return the variables that dbt/profiles.yml and libpq read, from an open connection's parameters.

    dbt removes the value of a variable named DBT_ENV_SECRET_… from all it writes.
    """
    parameters = info.dsn_parameters
    beyond = {variable: parameters[name] for name, variable in _LIBPQ_VARIABLES.items() if parameters.get(name)}
    return beyond | {
        "PGHOST": info.host,
        "PGPORT": str(info.port),
        "PGUSER": info.user,
        "PGDATABASE": info.dbname,
        "DBT_ENV_SECRET_PGPASSWORD": info.password or "",
        "PIPELINE_SCHEMA": schema,
    }


def call_dbt(call: DbtCall, progress: Progress = silent) -> RunExecutionResult:
    """Call dbt and return the result of every node, failed ones too.

    `progress` gets the number of finished models and tests, and their total. Raises `ServiceUnavailable` when dbt
    already runs in this process (it keeps its state in globals), `ModelTestFailed` when dbt could not begin, and what
    interrupted it.
    """
    if not _alone.acquire(blocking=False):
        raise ServiceUnavailable("dbt is at work in this process already; wait for it, or use another process")
    try:
        with _environment(call.environment):
            return _invoke(call.arguments(), [_NodeCounter(progress)])
    finally:
        _close_log()
        _alone.release()


def _invoke(arguments: list[str], callbacks: Sequence[Callable[[Any], None]]) -> RunExecutionResult:
    from dbt.artifacts.schemas.run import RunExecutionResult  # costs 3 s: only for those who call dbt
    from dbt.cli.main import dbtRunner

    outcome = dbtRunner(callbacks=list(callbacks)).invoke(arguments)
    if isinstance(outcome.result, RunExecutionResult):
        return outcome.result
    if isinstance(outcome.exception, Exception):
        raise error_of(f"dbt could not begin: {outcome.exception}") from outcome.exception
    raise outcome.exception or ModelTestFailed("dbt ended without a result and without saying why")


def _close_log() -> None:
    """Close dbt's log file, which dbt itself leaves open until its next call in this process."""
    from dbt_common.events.event_manager_client import cleanup_event_logger

    cleanup_event_logger()
    logger = logging.getLogger("file_log")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set these variables for the block, without any other option of dbt's, and restore all afterwards."""
    options = {name for name in os.environ if name.startswith("DBT_")}
    earlier = {name: os.environ.get(name) for name in options | values.keys()}
    _set_variables({name: values.get(name) for name in earlier})
    try:
        yield
    finally:
        _set_variables(earlier)


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class _NodeCounter:
    """Turns dbt's events, which come from several threads, into progress a few times a second."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0
        self._total: int | None = None
        self._reported_at = 0.0

    def __call__(self, event: Any) -> None:
        with self._lock:
            if event.info.name == "LogStartLine":
                self._total = event.data.total
            elif event.info.name == "NodeFinished":
                self._done += 1
                self._report()

    def _report(self) -> None:
        now = time.monotonic()
        if self._done == self._total or now - self._reported_at >= _SECONDS_BETWEEN_CALLS:
            self._reported_at = now
            self._progress(self._done, self._total, NODES)
