"""P23: pauses and clock jumps kill no living run and hide no result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from tests.faults.bench import until
from tests.faults.clock import DatabaseClock, database_with_own_clock
from tests.faults.looking import row_of
from workbench.stage.run_parameters import RunParameters
from workbench.state import database, queries
from workbench.state.crash_detection import reap, reap_patiently
from workbench.state.lease import held_lease
from workbench.state.runs import Origin, OwnedRun, create_run

pytestmark = pytest.mark.promise("P23", "pauses and clock jumps kill no living run and hide no result")
LEASE_SECONDS = 3
OWNER = f"""
import sys
from workbench.stage.run_parameters import RunParameters
from workbench.state import database
from workbench.state.lease import held_lease
from workbench.state.runs import Origin, create_run
run = create_run(database.connect(sys.argv[1]), RunParameters(), Origin("cli"), {LEASE_SECONDS})
run.start()
with held_lease(run):
    print(run.pipeline_id, flush=True)
    sys.stdin.readline()
run.complete("output.json")
"""
READER = """
import sys, time
from workbench.state import database
from workbench.state.crash_detection import reap
engine = database.connect(sys.argv[1])
print("looks", flush=True)
while True:
    reap(engine)
    time.sleep(0.1)
"""


@contextmanager
def process(program: str, url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program on the database at `url` while the block lasts; yields it and the first line that it printed."""
    command = [sys.executable, "-c", program, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        try:
            yield started, started.stdout.readline().strip()
        finally:
            started.kill()


def running(engine: Engine) -> OwnedRun:
    run = create_run(engine, RunParameters(), Origin("cli"), LEASE_SECONDS)
    run.start()
    run.stage_started("generate")
    return run


def lease_is_over(engine: Engine, pipeline_id: str) -> bool:
    query = text("select lease_expires_at < clock_timestamp() from pipelines where id = :id")
    with engine.connect() as connection:
        return bool(connection.execute(query, {"id": pipeline_id}).scalar_one())


def test_processes_that_are_all_stopped_for_longer_than_the_lease_go_on_when_they_are_woken(
    engine: Engine, database_url: str
) -> None:
    with process(OWNER, database_url) as (owner, pipeline_id), process(READER, database_url) as (reader, _):
        for each in (owner, reader):
            os.kill(each.pid, signal.SIGSTOP)
        until(lambda: lease_is_over(engine, pipeline_id), "the lease runs out", 10)
        os.kill(reader.pid, signal.SIGCONT)  # the reader first, which is the worst order
        time.sleep(LEASE_SECONDS / 6)
        os.kill(owner.pid, signal.SIGCONT)
        assert reap_patiently(engine) == []  # a command that looks once
        owner.communicate("end\n", timeout=30)
        assert row_of(engine, pipeline_id)["status"] == "completed"


def test_an_owner_that_stays_stopped_while_others_look_counts_as_dead(engine: Engine, database_url: str) -> None:
    with process(OWNER, database_url) as (owner, pipeline_id):
        os.kill(owner.pid, signal.SIGSTOP)
        stopped_at = time.monotonic()
        until(lambda: lease_is_over(engine, pipeline_id), "the lease runs out", 10)
        assert reap_patiently(engine) == [pipeline_id]
        assert time.monotonic() - stopped_at < 2 * LEASE_SECONDS


def test_a_pause_of_the_reader_between_two_looks_counts_for_half_of_its_watch_at_most(engine: Engine) -> None:
    run = running(engine)
    with engine.begin() as connection:
        connection.execute(text("update pipelines set lease_expires_at = clock_timestamp() - interval '1 second'"))
    assert reap(engine) == []
    time.sleep(LEASE_SECONDS)  # on the reader's clock, a pause of all processes is just this
    assert reap(engine) == []
    run.renew_lease()
    assert reap_patiently(engine) == []
    assert row_of(engine, run.pipeline_id)["status"] == "running"


@pytest.fixture(scope="module")
def server() -> Iterator[DatabaseClock]:
    with database_with_own_clock() as found:
        yield found


@pytest.fixture
def clock(server: DatabaseClock) -> DatabaseClock:
    """The database's clock, right at the beginning."""
    server.set_to(0)
    return server


@pytest.fixture
def jumping(clock: DatabaseClock) -> Iterator[Engine]:
    """An engine on the database whose clock jumps."""
    engine = database.connect(clock.url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("seconds", [60, 86_400, -60, -86_400])
def test_a_living_run_outlives_a_jump_of_the_databases_clock(
    clock: DatabaseClock, jumping: Engine, seconds: int
) -> None:
    run = running(jumping)
    with held_lease(run) as watch:
        clock.set_to(seconds)
        assert reap(jumping) == []
        assert reap_patiently(jumping) == []
        assert not watch.stop.is_set()
    run.complete("output.json")
    row = row_of(jumping, run.pipeline_id)
    assert row["status"] == "completed"
    assert row["finished_at"] - row["started_at"] >= timedelta(0)


@pytest.mark.parametrize("seconds", [60, -3600])
def test_a_dead_owner_is_found_within_two_leases_however_the_databases_clock_jumps(
    clock: DatabaseClock, jumping: Engine, seconds: int
) -> None:
    run = running(jumping)
    died_at = time.monotonic()
    clock.set_to(seconds)
    until(lambda: run.pipeline_id in reap(jumping), "the run is found crashed", 2 * LEASE_SECONDS)
    assert time.monotonic() - died_at < 2 * LEASE_SECONDS
    row, stage = row_of(jumping, run.pipeline_id), queries.stage_rows(jumping, run.pipeline_id)[0]
    assert row["finished_at"] >= row["started_at"]
    assert stage["finished_at"] >= stage["started_at"]


def test_a_run_that_waits_for_a_worker_outlives_a_jump_of_the_databases_clock(
    clock: DatabaseClock, jumping: Engine
) -> None:
    from workbench.state.run_queue import cancel_waiting, keep_waiting, request_run

    run = request_run(jumping, RunParameters(), Origin("page"))
    assert run is not None
    clock.set_to(600)
    assert reap(jumping) == []
    keep_waiting(jumping, [run.pipeline_id])  # as every worker does within five seconds
    assert reap_patiently(jumping) == []
    assert row_of(jumping, run.pipeline_id)["status"] == "pending"
    assert cancel_waiting(jumping, run.pipeline_id)
