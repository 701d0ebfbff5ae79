"""A Prefect server for the tests of what is known about runs, and warm kernels for those of execution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine

from tests.integration.executing import KERNEL_ONLY, code_runner
from tests.integration.hand_work import finish, opened
from workbench.base.settings import Settings, load_settings
from workbench.jupyter import interactive_tracking
from workbench.jupyter.kernel_services import kernel_services
from workbench.kernels.kernel_pool import warm_kernels
from workbench.notebook.results import NotebookOutcome
from workbench.services import prefect
from workbench.stage.pipeline import STAGE_NAMES
from workbench.state import queries

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


@pytest.fixture
def mine(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The settings of a kernel of its own, as a person's is: none of what it holds is left afterwards."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path / "home"))
    kernel_services.cache_clear()
    yield load_settings()
    interactive_tracking.leave()
    kernel_services().engine.dispose()
    kernel_services.cache_clear()


@pytest.fixture
def completed(engine: Engine, mine: Settings) -> str:
    """A run whose five stages are done, completed and published."""
    first = opened("generate")
    for stage in STAGE_NAMES:
        finish(first if stage == "generate" else opened(stage, first.pipeline_id))
    assert queries.run_row(engine, first.pipeline_id)["status"] == "completed"
    return first.pipeline_id
