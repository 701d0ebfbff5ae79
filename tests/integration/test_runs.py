"""What is known about a run: its states, its events, its lease, on a real PostgreSQL."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from tests.faults.bench import until
from workbench.base.errors import IllegalTransition, LeaseLost, UnknownRun
from workbench.stage.artefacts import Manifest
from workbench.stage.pipeline import STAGE_NAMES, StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.crash_detection import reap
from workbench.state.events import Event, EventType
from workbench.state.lease import held_lease, request_cancel
from workbench.state.runs import Origin, OwnedRun, claim_run, create_run
from workbench.state.states import RunStatus, StageStatus

CELL = Event(EventType.CELL_STARTED, {"cell": 1}, "generate")


def new_run(engine: Engine, lease_seconds: int = 30) -> OwnedRun:
    return create_run(engine, RunParameters(), Origin("cli"), lease_seconds)


def manifest_of(run: OwnedRun, stage: StageName, **counts: int) -> Manifest:
    return Manifest(
        pipeline_id=run.pipeline_id,
        stage=stage,
        parameters={},
        counts=counts,
        inputs={},
        artefacts=(),
        details={},
        versions={},
    )


def status_of(run: OwnedRun) -> str:
    return str(queries.run_row(run.engine, run.pipeline_id)["status"])


def test_a_new_run_is_pending_with_five_pending_stages_and_its_clock_fixed(engine: Engine) -> None:
    run = new_run(engine)
    row = queries.run_row(engine, run.pipeline_id)
    assert row["status"] == "pending"
    assert row["parameters"]["reference_time"].endswith("+00:00")
    stages = queries.stage_rows(engine, run.pipeline_id)
    assert [(stage["name"], stage["status"]) for stage in stages] == [(name, "pending") for name in STAGE_NAMES]


def test_every_change_of_state_has_its_event_in_the_same_order(engine: Engine) -> None:
    run = new_run(engine)
    run.start("flow-1")
    run.stage_started("generate")
    run.stage_completed("generate", manifest_of(run, "generate", generated=7))
    run.complete("out.json")
    events = queries.events_after(engine, run.pipeline_id)
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert [event.type for event in events] == ["run.started", "stage.started", "stage.completed", "run.completed"]
    assert queries.run_row(engine, run.pipeline_id)["counts"] == {"generated": 7}


def test_a_failed_attempt_counts_and_the_next_one_has_the_next_number(engine: Engine) -> None:
    run = new_run(engine)
    run.start()
    assert run.stage_started("process") == 1
    run.stage_ended_badly("process", StageStatus.FAILED, {"name": "TimeoutError"}, retrying=True)
    assert run.stage_started("process") == 2
    types = [event.type for event in queries.events_after(engine, run.pipeline_id)]
    assert types == ["run.started", "stage.started", "stage.failed", "stage.retrying", "stage.started"]


@pytest.mark.parametrize("end", [RunStatus.FAILED, RunStatus.CANCELLED])
def test_a_terminal_state_is_final_for_its_former_owner(engine: Engine, end: RunStatus) -> None:
    run = new_run(engine)
    run.start()
    run.end_badly(end, {"name": "X", "message": "y"})
    with pytest.raises(LeaseLost):
        run.complete(None)
    assert status_of(run) == end


def test_a_run_cannot_complete_before_it_runs(engine: Engine) -> None:
    run = new_run(engine)
    with pytest.raises(IllegalTransition, match="is pending; it cannot become completed"):
        run.complete(None)
    assert queries.events_after(engine, run.pipeline_id) == []


def test_what_happens_with_completion_happens_with_it_or_not_at_all(engine: Engine) -> None:
    run = new_run(engine)
    run.start()

    def broken(_connection: object) -> None:
        raise RuntimeError("publication failed")

    with pytest.raises(RuntimeError, match="publication failed"):
        run.complete("out.json", also=broken)
    assert status_of(run) == "running"


def test_only_one_of_many_claims_a_pending_run(engine: Engine) -> None:
    run = new_run(engine)

    def claim(_number: int) -> bool:
        try:
            claim_run(engine, run.pipeline_id, 30).start()
        except (IllegalTransition, LeaseLost):
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(claim, range(16)))
    assert claims.count(True) == 1
    types = [event.type for event in queries.events_after(engine, run.pipeline_id)]
    assert types == ["run.started"]


def test_a_write_repeated_after_a_lost_answer_counts_once(engine: Engine) -> None:
    run = new_run(engine)
    run.record(CELL)
    run.record(CELL)
    assert len(queries.events_after(engine, run.pipeline_id)) == 1


def test_an_expired_lease_is_found_by_whoever_looks(engine: Engine) -> None:
    run = new_run(engine, lease_seconds=1)
    run.start()
    run.stage_started("ingest")
    expires_at = queries.run_row(engine, run.pipeline_id)["lease_expires_at"]
    until(lambda: status_of(run) == "crashed", "the run is found crashed", 10)
    assert queries.run_row(engine, run.pipeline_id)["finished_at"] == expires_at
    stage = queries.stage_rows(engine, run.pipeline_id)[1]
    assert (stage["status"], stage["finished_at"]) == ("crashed", expires_at)
    last = queries.events_after(engine, run.pipeline_id)[-1]
    assert last.type == "run.crashed"
    with pytest.raises(LeaseLost):
        run.record(CELL)


def test_a_held_lease_outlives_its_seconds(engine: Engine) -> None:
    run = new_run(engine, lease_seconds=1)
    run.start()
    with held_lease(run) as watch:
        time.sleep(2.2)
        assert reap(engine) == []
        assert not watch.stop.is_set()


def test_a_run_that_ends_has_not_lost_its_lease(engine: Engine) -> None:
    run = new_run(engine, lease_seconds=1)
    run.start()
    with held_lease(run) as watch:
        renewer = next(each for each in threading.enumerate() if each.name == f"lease {run.pipeline_id}")
        run.complete(None)
        renewer.join(30)  # it finds the lease gone
        assert not renewer.is_alive()
    assert [watch.lease_lost.is_set(), watch.stop.is_set()] == [False, False]


def test_the_owner_hears_of_a_cancellation(engine: Engine) -> None:
    run = new_run(engine, lease_seconds=2)
    run.start()
    with held_lease(run) as watch:
        assert request_cancel(engine, run.pipeline_id)
        assert watch.stop.wait(5)
    run.end_badly(RunStatus.CANCELLED, {"name": "RunCancelled"})
    assert not request_cancel(engine, run.pipeline_id)


def test_events_of_many_writers_have_no_gap_and_no_double(engine: Engine) -> None:
    run = new_run(engine)

    def write(_number: int) -> None:
        for _ in range(10):
            run.record(Event(EventType.CELL_STARTED, {}, "generate"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.sequence for event in queries.events_after(engine, run.pipeline_id)] == list(range(1, 41))


def test_an_unknown_run_is_told_as_such(engine: Engine) -> None:
    with pytest.raises(UnknownRun, match="workbench runs"):
        queries.run_row(engine, "20260101t000000_abcdef")


def test_nobody_owns_a_run_that_is_stepped_through_by_hand(engine: Engine) -> None:
    run = create_run(engine, RunParameters(), Origin("notebook"), lease_seconds=None)
    run.stage_started("generate", interactive=True)
    assert reap(engine) == []
    other = OwnedRun(engine, run.pipeline_id, uuid.uuid4(), 30)
    with pytest.raises(LeaseLost):
        other.record(CELL)


def test_key_figures_hold_time_records_and_success_rate(engine: Engine) -> None:
    for succeeds in (True, False, True, True):
        run = new_run(engine)
        run.start()
        run.stage_started("process")
        run.stage_completed("process", manifest_of(run, "process", processed=10))
        if succeeds:
            run.complete("out.json")
        else:
            run.end_badly(RunStatus.FAILED, {"name": "X"})
    newest = queries.key_figures(engine)[0]
    assert newest["success_rate"] == pytest.approx(0.75)
    assert newest["records_processed"] == 10
    assert set(newest["stage_seconds"]) == {"process"}
    assert newest["total_seconds"] >= 0


@pytest.mark.parametrize(("stage", "counted"), [("generate", "generated"), ("ingest", "read")])
def test_key_figures_know_the_records_of_generated_and_of_own_input(
    engine: Engine, stage: StageName, counted: str
) -> None:
    run = new_run(engine)
    run.start()
    run.stage_started(stage)
    run.stage_completed(stage, manifest_of(run, stage, **{counted: 12}))
    assert queries.key_figures_of(engine, run.pipeline_id)["records_read"] == 12
