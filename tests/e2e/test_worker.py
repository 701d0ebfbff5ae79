"""Runs that others work: through Prefect's queue, by real workers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from uuid import UUID

import pytest
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Cancelled, Cancelling
from sqlalchemy import text

from tests.conftest import fresh_database
from tests.e2e.queue import ENDS, Queue, until
from tests.faults.faulty_notebooks import with_cell
from tests.integration.service_watch import all_gone
from workbench.base.errors import ServiceUnavailable
from workbench.base.settings import Settings
from workbench.prefect.api import DEPLOYMENT, contacted
from workbench.services import prefect
from workbench.services import spark as spark_service
from workbench.services.processes import free_port
from workbench.stage.run_parameters import RunParameters
from workbench.state import database, queries
from workbench.state.run_queue import WAITING_SECONDS

LONG = RunParameters(records=4_900_000)
STAYS = f"import time\nwhile records == {LONG.records}: time.sleep(0.05)"  # until its run is cancelled or killed


@pytest.fixture(scope="module")
def queue(settings: Settings, server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """Two workers on one Prefect and one fresh database."""
    folder = tmp_path_factory.mktemp("workers")
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(server_url))
        notebooks = with_cell(folder / "notebooks", "generate", STAYS)
        own = Settings(_env_file=None, workbench_home=settings.home, database_url=url, workbench_notebooks=notebooks)
        spark = stack.enter_context(ThreadPoolExecutor(max_workers=1))
        held = stack.enter_context(ExitStack())
        spark.submit(lambda: held.enter_context(spark_service.held(own)))
        stack.enter_context(prefect.held(own, full=True))
        engine = database.connect(url)
        stack.callback(engine.dispose)
        queue = Queue(own, engine, folder, stack)
        queue.hire(2)
        yield queue


@pytest.fixture(scope="module")
def both(queue: Queue) -> tuple[str, str]:
    """A run of the page and one of Prefect's own page, in the queue before anybody looks, and ended by now."""
    queue.await_idle()
    with queue.held_back():
        ours = queue.actions.trigger(RunParameters(records=300, seed=5), "from the page")
        flow_run = queue.start_from_prefect(records=400, seed=6)
    until(lambda: _named(queue, flow_run.id), "the run of Prefect's page is recorded")
    runs = ours, _named(queue, flow_run.id)
    for each in runs:
        until(lambda each=each: queue.status(each) in ENDS, f"run {each} ends")
        until(lambda each=each: queue.state_in_prefect(each) in TERMINAL_STATES, f"Prefect hears that {each} ended")
    return runs


def _named(queue: Queue, flow_run_id: UUID) -> str:
    """Return the run that this flow run works, empty while it is none."""
    with queue.engine.connect() as connection:
        query = text("select id from pipelines where prefect_flow_run_id = :id")
        return connection.execute(query, {"id": str(flow_run_id)}).scalar_one_or_none() or ""


def test_two_workers_work_two_runs_at_once_and_both_are_right(queue: Queue, both: tuple[str, str]) -> None:
    ours, theirs = both
    first, second = queue.document(ours), queue.document(theirs)
    assert (first["status"], second["status"]) == ("completed", "completed"), (first["error"], second["error"])
    assert (first["trigger"], second["trigger"]) == ("page", "prefect")
    assert (queue.exported(ours)["record_count"], queue.exported(theirs)["record_count"]) == (300, 400)
    rows = [queries.run_row(queue.engine, each) for each in both]
    assert max(row["started_at"] for row in rows) < min(row["finished_at"] for row in rows), "one after the other"
    runs = [queue.flow_run(each) for each in both]
    assert len({run.labels["prefect.worker.name"] for run in runs}) == 2
    assert [run.name for run in runs] == [ours, theirs]
    assert {run.state.type for run in runs if run.state} == {StateType.COMPLETED}
    assert runs[0].parameters == {"pipeline_id": ours}


def test_a_run_of_the_page_that_may_reuse_takes_the_clock_of_the_results_it_reuses(
    queue: Queue, both: tuple[str, str]
) -> None:
    again = queue.actions.trigger(RunParameters(records=300, seed=5, reuse=True))
    until(lambda: queue.status(again) in ENDS, "the run ends")
    former, found = queue.document(both[0]), queue.document(again)
    assert found["status"] == "completed", found["error"]
    assert [each["status"] for each in found["stages"]] == ["reused"] * 4 + ["completed"]
    assert found["parameters"] == {**former["parameters"], "reuse": True}
    assert queue.exported(again)["data"] == queue.exported(both[0])["data"]


def test_a_cancelled_run_is_cancelled_in_both_worlds_wherever_it_was_cancelled(queue: Queue) -> None:
    here, there = queue.actions.trigger(LONG), queue.actions.trigger(LONG)
    until(lambda: all(_stage(queue, each) == "running" for each in (here, there)), "both run their first stage")
    assert queue.actions.cancel(here)
    with contacted(queue.settings) as client:
        client.set_flow_run_state(queue.flow_run(there).id, Cancelling())
    for each in (here, there):
        until(lambda each=each: queue.status(each) in ENDS, "the run ends")
        until(lambda each=each: queue.state_in_prefect(each) is StateType.CANCELLED, "Prefect follows")
        assert (queue.status(each), _stage(queue, each)) == ("cancelled", "cancelled")
        until(lambda each=each: queue.tasks_in_prefect(each) == {"1 Generate": "Cancelled"}, "so does its task")


def test_runs_of_a_worker_that_is_killed_crash_and_those_of_one_that_is_stopped_are_cancelled(queue: Queue) -> None:
    killed, stopped = queue.actions.trigger(LONG), queue.actions.trigger(LONG)
    until(lambda: all(_stage(queue, each) == "running" for each in (killed, stopped)), "both run their first stage")
    lease = queue.settings.workbench_lease_seconds
    workers = [queue.worker_of(killed), queue.worker_of(stopped)]
    try:
        left = [each for one in workers for each in one.children(recursive=True)]
        workers[0].send_signal(signal.SIGKILL)
        until(lambda: queue.status(killed) in ENDS, "whoever looks finds it crashed", 2 * lease + 10)
        assert (queue.status(killed), _stage(queue, killed)) == ("crashed", "crashed")
        until(lambda: queue.tasks_in_prefect(killed) == {"1 Generate": "Crashed"}, "Prefect hears of it")
        assert queue.state_in_prefect(killed) is StateType.CRASHED
        workers[1].send_signal(signal.SIGTERM)
        until(lambda: queue.status(stopped) in ENDS, "the run is ended by its worker")
        assert queue.status(stopped) == "cancelled"
        until(lambda: queue.state_in_prefect(stopped) is StateType.CANCELLED, "Prefect hears of it")
        until(lambda: all_gone(left), "nothing of them is left", 60)
    finally:
        for each in workers:
            queue.workers.remove(each)
        queue.hire(2)


def _stage(queue: Queue, pipeline_id: str) -> str:
    return str(queue.document(pipeline_id)["stages"][0]["status"])


def test_a_run_cancelled_in_the_queue_is_cancelled_at_once(queue: Queue) -> None:
    with queue.held_back():
        waiting = queue.actions.trigger(LONG)
        assert queue.actions.cancel(waiting)
        assert queue.status(waiting) == "cancelled"
        assert queue.state_in_prefect(waiting) is StateType.CANCELLED
        assert not queue.actions.cancel(waiting)


def test_a_run_cancelled_in_prefects_queue_is_cancelled_for_us(queue: Queue) -> None:
    with queue.held_back() as client:
        waiting = queue.actions.trigger(LONG)
        client.set_flow_run_state(queue.flow_run(waiting).id, Cancelled(message="not needed"), force=True)
        until(lambda: queue.status(waiting) == "cancelled", "a worker hears of it", 30)
        assert queue.document(waiting)["error"]["message"] == "not needed"


def test_a_run_may_wait_in_the_queue_as_long_as_a_worker_lives(queue: Queue) -> None:
    with queue.held_back():
        waiting = queue.actions.trigger(LONG)
        nearly_over = text("update pipelines set lease_expires_at = clock_timestamp() + interval '20 s' where id = :id")
        with queue.engine.begin() as connection:
            connection.execute(nearly_over, {"id": waiting})
        until(lambda: _lease_seconds(queue, waiting) > WAITING_SECONDS / 2, "a worker renews the lease", 20)
        queue.actions.cancel(waiting)


def _lease_seconds(queue: Queue, pipeline_id: str) -> float:
    left = text("select extract(epoch from lease_expires_at - clock_timestamp()) from pipelines where id = :id")
    with queue.engine.connect() as connection:
        return float(connection.execute(left, {"id": pipeline_id}).scalar_one())


def test_twenty_requests_with_one_key_are_one_run(queue: Queue) -> None:
    with queue.held_back(), ThreadPoolExecutor(max_workers=20) as asking:
        answers = list(asking.map(lambda _: queue.actions.trigger(LONG, "clicked often"), range(20)))
        assert len(set(answers)) == 1
        assert [row["pipeline_id"] for row in queries.key_figures(queue.engine, 100)].count(answers[0]) == 1
        queue.actions.cancel(answers[0])


def test_without_prefect_nothing_is_triggered_and_no_run_is_recorded(queue: Queue) -> None:
    gone = queue.settings.model_copy(update={"prefect_api_url": f"http://127.0.0.1:{free_port()}/api"})
    actions = replace(queue.actions, settings=gone)
    before = len(queries.key_figures(queue.engine, 1000))
    with pytest.raises(ServiceUnavailable, match=r"Prefect at 127\.0\.0\.1"):
        actions.trigger(LONG, "while it was away")
    assert len(queries.key_figures(queue.engine, 1000)) == before
    assert "Prefect at 127.0.0.1" in str(actions.trouble())


def test_with_a_worker_there_is_no_trouble(queue: Queue) -> None:
    assert queue.actions.trouble() is None


def test_prefect_refuses_parameters_as_we_do(queue: Queue) -> None:
    with pytest.raises(ServiceUnavailable, match="PrefectHTTPStatusError") as refusal:
        queue.start_from_prefect(records=0)
    assert isinstance(refusal.value.__cause__, PrefectHTTPStatusError)


def test_prefect_gets_the_id_of_a_run_alone(queue: Queue) -> None:
    with queue.held_back():
        waiting = queue.actions.trigger(LONG)
        assert queue.flow_run(waiting).parameters == {"pipeline_id": waiting}
        assert queue.actions.cancel(waiting)


def test_prefect_stores_no_setting_and_no_path_of_this_machine(queue: Queue) -> None:
    with contacted(queue.settings) as client:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        pool = client.read_work_pool(str(deployment.work_pool_name))
    assert (deployment.job_variables, deployment.path) == ({}, None)
    stored = deployment.model_dump_json() + pool.model_dump_json()
    assert str(queue.settings.home) not in stored
    assert "postgresql://" not in stored
