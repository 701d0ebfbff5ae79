"""A page on a fresh database, and a worker by hand behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.web.by_hand import Worker
from tests.web.served import Page, served
from workbench.base.settings import Settings


@pytest.fixture
def own_settings(tmp_path: Path) -> Settings:
    """Settings with a home of their own."""
    return Settings(_env_file=None, workbench_home=tmp_path)


@pytest.fixture
def worker(engine: Engine, own_settings: Settings) -> Worker:
    return Worker(engine, own_settings)


@pytest.fixture
def page(worker: Worker) -> Iterator[Page]:
    """The page, up, with the worker behind it."""
    with served(worker.settings, worker.engine, worker.actions()) as page:
        yield page
