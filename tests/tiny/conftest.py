"""Runs of the tiny pipeline as real processes, on the session's Prefect and a database of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults.bench import Bench
from tests.faults.conftest import prefect_url, temporary
from workbench.base.settings import PROJECT, Settings

__all__ = ["prefect_url", "temporary"]

if PROJECT.name != "tiny_pipeline":
    raise pytest.UsageError("tests/tiny: the project is another; `make test-tiny` runs these on tests/tiny_pipeline")


@pytest.fixture
def bench(engine: Engine, database_url: str, prefect_url: str, home: Path, temporary: Path) -> Iterator[Bench]:
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        prefect_api_url=prefect_url,
        workbench_home=home,
        workbench_lease_seconds=3,
    )
    bench = Bench(engine, settings, temporary, options=())
    yield bench
    bench.kill_all()
