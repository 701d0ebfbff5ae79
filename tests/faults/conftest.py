"""What fault tests share: runs as real processes on real services, and one checker after every fault."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.conftest import fresh_database
from tests.faults.bench import Bench
from tests.faults.workshop import Workshop
from workbench.base.settings import Settings
from workbench.run.resources import acquired
from workbench.services import prefect


@pytest.fixture(scope="session")
def prefect_url(settings: Settings) -> Iterator[str]:
    """The session's Prefect server."""
    with prefect.held(settings) as url:
        yield url


@pytest.fixture(scope="session")
def spark_server(spark_url: str) -> str:
    """The session's Spark server; runs find it by their home."""
    return spark_url


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files, with a path short enough for unix sockets below it."""
    folder = Path(tempfile.mkdtemp(prefix="wbf"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench_settings(database_url: str, prefect_url: str, home: Path) -> Settings:
    """Settings of runs on a database of their own; the home and its services are the session's."""
    return Settings(
        _env_file=None,
        database_url=database_url,
        prefect_api_url=prefect_url,
        workbench_home=home,
        workbench_lease_seconds=3,
    )


@pytest.fixture
def bench(engine: Engine, bench_settings: Settings, spark_server: str, temporary: Path) -> Iterator[Bench]:
    """Starts runs. Nothing of them survives the test."""
    bench = Bench(engine, bench_settings, temporary)
    yield bench
    bench.kill_all()


@pytest.fixture(scope="module")
def workshop(server_url: str, spark_server: str, home: Path) -> Iterator[Workshop]:
    """Runs inside this process, on a database of the module's own."""
    with fresh_database(server_url) as url:
        settings = Settings(_env_file=None, database_url=url, workbench_home=home)
        with acquired(settings) as resources:
            yield Workshop(resources)
