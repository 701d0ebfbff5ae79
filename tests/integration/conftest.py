"""A Prefect server for the tests of what is known about runs, and warm kernels for those of execution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline_lib.execution.outcome import NotebookOutcome
from pipeline_lib.execution.warm import warm_kernels
from pipeline_lib.services import prefect
from pipeline_lib.settings import Settings
from tests.integration.executing import KERNEL_ONLY, code_runner

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


@pytest.fixture(scope="module")
def run_code() -> Iterator[Callable[..., NotebookOutcome]]:
    """Executes one cell of some code, on warm kernels, followed by one that prints 'after'."""
    with warm_kernels(KERNEL_ONLY, later=()) as kernels:
        yield code_runner(kernels)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where an executed notebook goes; its name is no format string."""
    return tmp_path / "executed {with} braces.ipynb"
