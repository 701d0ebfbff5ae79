"""P2: a terminal state is final; two reapers and a late finisher agree."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.faults.looking import events_of, row_of
from workbench.base.errors import LeaseLost
from workbench.stage.run_parameters import RunParameters
from workbench.state.crash_detection import declare_crashed, doubtful_leases, reap_patiently
from workbench.state.runs import Origin, OwnedRun, create_run

pytestmark = pytest.mark.promise("P2", "a terminal state is final; two reapers and a late finisher agree")
ROUNDS = 200


def expired_run(engine: Engine) -> OwnedRun:
    """Return a run at work whose lease has just run out."""
    run = create_run(engine, RunParameters(), Origin("cli"), lease_seconds=2)
    run.start()
    run.stage_started("export")
    with engine.begin() as connection:
        connection.execute(text("update pipelines set lease_expires_at = clock_timestamp() - interval '1 second'"))
    return run


def finishes(run: OwnedRun) -> bool:
    try:
        run.complete("output.json")
    except LeaseLost:
        return False
    return True


def at_once(pool: ThreadPoolExecutor, *calls: Callable[[], Any]) -> list[Any]:
    """Call all in threads that start together; return what they return."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> Any:
        barrier.wait()
        return call()

    return list(pool.map(begin, calls))


def test_of_two_reapers_and_a_late_finisher_exactly_one_decides(engine: Engine) -> None:
    decided = {"completed": 0, "crashed": 0}
    with ThreadPoolExecutor(3) as pool:
        for _ in range(ROUNDS):
            run = expired_run(engine)
            (lease,) = doubtful_leases(engine)
            declares = partial(declare_crashed, engine, lease)
            assert sum(at_once(pool, declares, declares, partial(finishes, run))) == 1
            row, events = row_of(engine, run.pipeline_id), events_of(engine, run.pipeline_id)
            ends = [event["type"] for event in events if event["type"].startswith("run.")][1:]
            assert ends == [f"run.{row['status']}"]
            assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
            decided[row["status"]] += 1
    assert all(decided.values()), decided


def test_whoever_comes_after_the_decision_changes_nothing(engine: Engine) -> None:
    run = expired_run(engine)
    assert reap_patiently(engine) == [run.pipeline_id]
    before = (row_of(engine, run.pipeline_id), events_of(engine, run.pipeline_id))
    assert not finishes(run)
    assert reap_patiently(engine) == []
    with pytest.raises(LeaseLost):
        run.renew_lease()
    assert (row_of(engine, run.pipeline_id), events_of(engine, run.pipeline_id)) == before
