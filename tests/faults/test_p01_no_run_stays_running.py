"""P1: no run stays `running` longer than two leases after its owner has died, even one that never renewed."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import text

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.invariants import check_invariants
from workbench.state.failpoints import FAILPOINTS

pytestmark = pytest.mark.promise(
    "P1", "no run stays `running` longer than two leases after its owner has died, even one that never renewed"
)
BEFORE_STAGES = ("run_created", "run_claimed", "run_started")
IN_A_STAGE = ("stage_started", "cell_started", "notebook_executed", "manifest_verified", "stage_completed")
AT_THE_END = ("run_completed", "run_ended", "run_published")


def killed_at(bench: Bench, failpoint: str) -> StartedRun:
    """Return a run whose process has been killed at a place."""
    run = bench.run(failpoint=f"{failpoint}:SIGKILL")
    assert run.wait() == -signal.SIGKILL, run.said()
    return run


def seconds_of_lease_left(run: StartedRun) -> float:
    query = text("select extract(epoch from lease_expires_at - clock_timestamp()) from pipelines where id = :id")
    with run.bench.engine.connect() as connection:
        return float(connection.execute(query, {"id": run.pipeline_id}).scalar_one())


def test_every_failpoint_is_tried() -> None:
    assert {*BEFORE_STAGES, *IN_A_STAGE, *AT_THE_END} == set(FAILPOINTS)


def test_a_run_killed_before_its_end_is_committed_has_published_nothing(bench: Bench, spark_server: str) -> None:
    run = killed_at(bench, "run_completed")
    until(lambda: seconds_of_lease_left(run) < 0, "the lease runs out")
    assert check_invariants(run)["status"] == "crashed"
    assert not readers_see(bench)


@pytest.mark.parametrize("failpoint", ["run_ended", "run_published"])
def test_a_run_killed_after_its_end_is_committed_stays_completed_and_is_published_by_the_next_look(
    bench: Bench, failpoint: str
) -> None:
    run = killed_at(bench, failpoint)
    assert run.row["status"] == "completed"
    assert not readers_see(bench)
    with bench.engine.begin() as connection:  # Prefect hears of it from whoever looks half a minute later
        connection.execute(text("update pipelines set finished_at = finished_at - interval '1 minute'"))
    assert check_invariants(run)["status"] == "completed"
    assert readers_see(bench)


def readers_see(bench: Bench) -> bool:
    """Tell whether schema `analytics` shows any run."""
    query = text("select count(*) from pg_views where schemaname = 'analytics' and viewname = 'item_metrics'")
    with bench.engine.connect() as connection:
        return bool(connection.execute(query).scalar_one())
