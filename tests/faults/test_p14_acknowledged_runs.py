"""P14: a run that the page has acknowledged will run or be seen as crashed; the same key is one run."""

from __future__ import annotations

import signal
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text

from flows.pipeline import pipeline
from tests.faults.bench import Bench, StartedRun, until
from tests.faults.invariants import check_invariants
from tests.faults.stories import prefect_problems
from workbench.base.settings import Settings
from workbench.prefect.api import contacted
from workbench.prefect.deployment import deploy
from workbench.prefect.reconciliation import mirror
from workbench.run.crash_recovery import look_after
from workbench.services import prefect
from workbench.services.processes import free_port
from workbench.state.states import TERMINAL
from workbench.web.auth import Access

pytestmark = pytest.mark.promise(
    "P14", "a run that the page has acknowledged will run or be seen as crashed; the same key is one run"
)
AT_ONCE = 50


@pytest.fixture(scope="module")
def own_home() -> Iterator[Path]:
    """A home with a Prefect of its own: no other test's worker takes what stands in its queue."""
    with tempfile.TemporaryDirectory(prefix="wb-queue-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def prefect_url(own_home: Path) -> Iterator[str]:
    settings = Settings(_env_file=None, workbench_home=own_home)
    with prefect.held(settings) as url:
        with contacted(settings) as client:
            deploy(client, pipeline)
        yield url


@pytest.fixture
def bench(
    engine: Engine, database_url: str, prefect_url: str, spark_server: str, own_home: Path, temporary: Path
) -> Iterator[Bench]:
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        prefect_api_url=prefect_url,
        spark_remote=spark_server,
        workbench_home=own_home,
    )
    bench = Bench(engine, settings, temporary)
    yield bench
    bench.kill_all()


class Page:
    """The page as a process of its own."""

    def __init__(self, bench: Bench, failpoint: str = "") -> None:
        port = free_port()
        self.process = bench.start("web", "--port", str(port), failpoint=failpoint)
        self.url = f"http://127.0.0.1:{port}/api/v1"
        self.token = Access.of(bench.settings).token
        until(self._answers, f"the page answers\n{self.process.said()}")

    def post(self, key: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
        return httpx.post(f"{self.url}/runs", json={"records": 200, "seed": 7}, headers=headers, timeout=60)

    def kill(self) -> None:
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process.process.poll() is None, self.process.said()
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False


def requested(page: Page, key: str) -> StartedRun:
    """Return the run of this key, seen as one that the page's process has started."""
    return replace(page.process, key=key)


def test_fifty_requests_with_one_key_are_one_run_which_is_worked_though_the_page_has_died(bench: Bench) -> None:
    page = Page(bench)
    with ThreadPoolExecutor(AT_ONCE) as crowd:
        answers = list(crowd.map(page.post, ["the-same"] * AT_ONCE))
    page.kill()
    assert Counter(answer.status_code for answer in answers) == {202: AT_ONCE}
    assert {answer.json()["pipeline_id"] for answer in answers} == bench.run_ids()
    run = requested(page, "the-same")
    assert run.row["status"] == "pending"
    worker = bench.start("worker", "--limit", "1")
    until(lambda: run.row["status"] in TERMINAL, f"the run ends\n{worker.said()}")
    assert run.row["status"] == "completed", run.row["error"]
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said()
    (bench.temporary / "runner_storage").rmdir()  # Prefect's workers leave this folder, empty
    check_invariants(run)


def test_a_run_that_nobody_takes_from_the_queue_is_seen_as_crashed(bench: Bench) -> None:
    page = Page(bench)
    assert page.post("unheard").status_code == 202
    page.kill()
    check_crashes(bench, requested(page, "unheard"))


def test_a_page_killed_before_it_could_answer_leaves_one_run_that_is_seen_as_crashed(bench: Bench) -> None:
    page = Page(bench, failpoint="run_created:SIGKILL")
    with pytest.raises(httpx.TransportError):
        page.post("asked-twice")
    again = Page(bench)
    assert {again.post("asked-twice").json()["pipeline_id"]} == bench.run_ids()
    again.kill()
    check_crashes(bench, requested(page, "asked-twice"))


def check_crashes(bench: Bench, run: StartedRun) -> None:
    """The run waits until its lease is over; then it is crashed, for Prefect too."""
    assert look_after(bench.engine, bench.settings) == []
    with bench.engine.begin() as connection:
        over = "update pipelines set lease_expires_at = clock_timestamp() - interval '1 second', lease_seconds = 2"
        connection.execute(text(over))
    assert look_after(bench.engine, bench.settings, once=True) == [run.pipeline_id]
    assert run.row["status"] == "crashed"
    assert "nobody began to work it" in run.row["error"]["message"]
    with contacted(bench.settings) as client:
        mirror(bench.engine, client)
    assert prefect_problems(bench, run.row) == []
