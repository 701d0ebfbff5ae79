"""The `workbench` command as a person types it, on services that are started once for the session."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import fresh_database
from workbench.base.settings import PROJECT, Settings
from workbench.services import postgres, prefect
from workbench.services import spark as spark_service
from workbench.stage.artefacts import RunFolder

WORKBENCH = Path(sys.executable).with_name("workbench")
RUN_SECONDS = 240


@dataclass(frozen=True)
class Workbench:
    """Runs `workbench` with the environment of one session."""

    environment: dict[str, str]

    def __call__(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.environment, **more}
        return subprocess.run(
            [WORKBENCH, *arguments],
            env=environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )

    def json(self, *arguments: str, code: int = 0, **more: str) -> Any:
        """Run with --json and return the document; the exit code must be `code`."""
        done = self(*arguments, "--json", **more)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def workbench(settings: Settings) -> Iterator[Workbench]:
    """The command on the embedded components, kept alive between runs."""
    with postgres.held(settings), prefect.held(settings), spark_service.held(settings):
        yield Workbench({"WORKBENCH_HOME": str(settings.home)})


@pytest.fixture
def elsewhere(workbench: Workbench, server_url: str) -> Iterator[Workbench]:
    """The command on an external PostgreSQL, in a database of its own."""
    with fresh_database(server_url) as url:
        yield Workbench({**workbench.environment, "DATABASE_URL": url})


@pytest.fixture(scope="module")
def apart(workbench: Workbench, server_url: str) -> Iterator[Workbench]:
    """The same for a module: in the session's database, other modules' runs may be newer at any time."""
    with fresh_database(server_url) as url:
        yield Workbench({**workbench.environment, "DATABASE_URL": url})


@pytest.fixture(scope="session")
def completed(workbench: Workbench, home: Path) -> dict[str, Any]:
    """A completed run of 10,000 records, 5 % of them defective on purpose; the first worker that wants it makes it."""
    kept = home / "completed.json"
    with (home / "completed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            options = ("--records", "10000", "--seed", "7", "--defect-rate", "0.05")
            kept.write_text(json.dumps(workbench.json("run", *options)))
    document: dict[str, Any] = json.loads(kept.read_text())
    return document


Paths = Callable[[str], Path]


@pytest.fixture
def path_in(completed: dict[str, Any], settings: Settings) -> Paths:
    """Return a path below the folder of the completed run."""
    return lambda path: RunFolder(settings.home, completed["pipeline_id"]).path / path
