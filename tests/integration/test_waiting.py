"""Runs that wait for somebody to work them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from workbench.base.errors import IllegalTransition, LeaseLost
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.crash_detection import reap_patiently
from workbench.state.lease import request_cancel
from workbench.state.run_queue import end_waiting, keep_waiting, request_run
from workbench.state.runs import Origin, claim_run, create_run
from workbench.state.states import RunStatus


def test_requests_with_one_key_at_the_same_time_make_one_run(engine: Engine) -> None:
    with ThreadPoolExecutor(max_workers=8) as asking:
        made = list(asking.map(lambda _: request_run(engine, RunParameters(), Origin("page", "key")), range(16)))
    runs = [run for run in made if run is not None]
    assert len(runs) == 1
    assert queries.run_of_key(engine, "key") == runs[0].pipeline_id
    assert queries.run_of_key(engine, None) is None


def test_a_run_that_nobody_began_in_time_has_crashed_and_says_so(engine: Engine) -> None:
    run = create_run(engine, RunParameters(), Origin("page"), 2)
    with engine.begin() as connection:
        connection.execute(text("update pipelines set lease_expires_at = clock_timestamp() - interval '1 s'"))
    assert reap_patiently(engine) == [run.pipeline_id]
    row = queries.run_row(engine, run.pipeline_id)
    assert (row["status"], row["error"]["message"][:12]) == ("crashed", "nobody began")


def test_waiting_is_prolonged_for_those_that_still_wait_only(engine: Engine) -> None:
    waiting = create_run(engine, RunParameters(), Origin("page"), 1)
    claimed = claim_run(engine, create_run(engine, RunParameters(), Origin("page"), 30).pipeline_id, 1)
    claimed.start()
    keep_waiting(engine, [waiting.pipeline_id, claimed.pipeline_id])
    left = text("select lease_expires_at - clock_timestamp() > interval '1 minute' from pipelines where id = :id")
    with engine.connect() as connection:
        prolonged = [connection.execute(left, {"id": each.pipeline_id}).scalar_one() for each in (waiting, claimed)]
    assert prolonged == [True, False]


def test_a_waiting_run_is_cancelled_at_once_and_nobody_can_begin_it(engine: Engine) -> None:
    run = create_run(engine, RunParameters(), Origin("page"), 30)
    assert request_cancel(engine, run.pipeline_id)
    assert queries.run_row(engine, run.pipeline_id)["status"] == "cancelled"
    assert [event.type for event in queries.events_after(engine, run.pipeline_id)] == ["run.cancelled"]
    with pytest.raises(IllegalTransition):
        claim_run(engine, run.pipeline_id, 30)
    with pytest.raises(LeaseLost):
        run.start()
    assert not request_cancel(engine, run.pipeline_id)


def test_a_run_that_was_begun_waits_no_more(engine: Engine) -> None:
    run = create_run(engine, RunParameters(), Origin("cli"), 30)
    run.start()
    assert not end_waiting(engine, run.pipeline_id, RunStatus.CRASHED, {"name": "Late", "message": "too late"})
    assert queries.run_row(engine, run.pipeline_id)["status"] == "running"
