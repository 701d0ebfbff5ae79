"""A migrated database with an engine on it, and a Prefect server, for the tests of what is known about runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine

from pipeline_lib.services import prefect
from pipeline_lib.settings import Settings
from pipeline_lib.tracking import database

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[SyncPrefectClient]:
    """A client of a real Prefect server."""
    from prefect import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        prefect.held(settings) as url,
        temporary_settings({PREFECT_API_URL: url}),
        get_client(sync_client=True) as client,
    ):
        yield client


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh database with the present tables."""
    engine = database.connect(database_url)
    yield engine
    engine.dispose()
