"""P3: an owner without its lease writes nothing."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.invariants import check_invariants
from tests.faults.looking import events_of, row_of, run_schemas, stages_of
from workbench.run.crash_recovery import look_after

pytestmark = pytest.mark.promise("P3", "an owner without its lease writes nothing")


def lease_has_run_out(run: StartedRun) -> bool:
    query = text("select lease_expires_at < clock_timestamp() from pipelines where id = :id")
    with run.bench.engine.connect() as connection:
        return bool(connection.execute(query, {"id": run.pipeline_id}).scalar_one())


def everything(run: StartedRun) -> tuple[object, ...]:
    """Return all that is known and kept of a run: rows, events, schemas, and every file by its content."""
    engine, pipeline_id = run.bench.engine, run.pipeline_id
    files = {path: digest(path) for path in sorted(run.folder.path.rglob("*")) if path.is_file()}
    told = [{**event, "published_at": None} for event in events_of(engine, pipeline_id)]
    return row_of(engine, pipeline_id), stages_of(engine, pipeline_id), told, run_schemas(engine), files


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def asleep_at(bench: Bench, place: str) -> StartedRun:
    """Return a run whose process has been stopped at a place until its lease has run out."""
    run = bench.run(failpoint=f"{place}:SIGSTOP")
    until(run.stopped, f"the run stops at {place}")
    until(lambda: lease_has_run_out(run), "the lease runs out")
    return run


def test_an_owner_that_slept_through_its_lease_changes_nothing_that_another_has_finished(bench: Bench) -> None:
    late = asleep_at(bench, "cell_started/press")
    other = bench.start("resume", late.pipeline_id)
    assert other.wait() == 0, other.said()
    finished = everything(late)
    late.signal(signal.SIGCONT)
    assert late.wait() == 1, late.said()
    assert everything(late) == finished
    assert check_invariants(late)["status"] == "completed"


def test_an_owner_taken_for_dead_records_nothing_more_not_even_what_it_has_proven(bench: Bench) -> None:
    late = asleep_at(bench, "manifest_verified/pick")
    assert look_after(bench.engine, bench.settings, once=True) == [late.pipeline_id]
    settled = everything(late)
    late.signal(signal.SIGCONT)
    assert late.wait() == 1, late.said()
    assert everything(late) == settled
    assert check_invariants(late)["status"] == "crashed"
