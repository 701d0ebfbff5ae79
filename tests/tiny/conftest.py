"""Runs of the tiny pipeline as real processes, on the session's Prefect and a database of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults.bench import Bench
from tests.faults.conftest import bench_settings, prefect_url, temporary
from workbench.base.settings import PROJECT, Settings

__all__ = ["bench_settings", "prefect_url", "temporary"]

if PROJECT.name != "tiny_pipeline":
    raise pytest.UsageError("tests/tiny: the project is another; `make test-tiny` runs these on tests/tiny_pipeline")


@pytest.fixture
def bench(engine: Engine, bench_settings: Settings, temporary: Path) -> Iterator[Bench]:
    """Starts runs of the tiny pipeline. Nothing of them survives the test."""
    bench = Bench(engine, bench_settings, temporary, options=())
    yield bench
    bench.kill_all()
