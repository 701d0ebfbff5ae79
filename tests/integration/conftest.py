"""A migrated database with an engine on it, for the tests of what is known about runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from pipeline_lib.tracking import database


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh database with the present tables."""
    engine = database.connect(database_url)
    yield engine
    engine.dispose()
