"""Whose run may be taken for dead, and who may end a run that nobody owns, on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.integration.test_runs import manifest_of, new_run, status_of
from workbench.base.errors import ServiceUnavailable
from workbench.run.completion import complete_if_done
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import STAGE_NAMES
from workbench.stage.run_parameters import RunParameters
from workbench.state import database, queries
from workbench.state.crash_detection import reap_patiently
from workbench.state.events import Event, EventType
from workbench.state.lease import held_lease, request_cancel
from workbench.state.runs import Origin, OwnedRun, create_run


def let_lease_run_out(run: OwnedRun) -> None:
    over = text("update pipelines set lease_expires_at = clock_timestamp() - interval '15 s' where id = :id")
    with run.engine.begin() as connection:
        connection.execute(over, {"id": run.pipeline_id})


def test_a_process_that_has_slept_does_not_take_its_own_run_for_dead(engine: Engine) -> None:
    run = new_run(engine, lease_seconds=3)
    run.start()
    with held_lease(run) as watch:
        let_lease_run_out(run)
        assert reap_patiently(engine) == []
        assert status_of(run) == "running"
        assert not watch.stop.is_set()
    let_lease_run_out(run)
    assert reap_patiently(engine) == [run.pipeline_id]


def by_hand(engine: Engine) -> OwnedRun:
    return create_run(engine, RunParameters(), Origin("notebook"), lease_seconds=None)


def test_a_run_that_is_stepped_through_is_cancelled_at_once_for_nobody_would_hear_of_it(engine: Engine) -> None:
    run = by_hand(engine)
    run.stage_started("generate", interactive=True)
    assert request_cancel(engine, run.pipeline_id)
    row, stage = queries.run_row(engine, run.pipeline_id), queries.stage_rows(engine, run.pipeline_id)[0]
    assert (row["status"], stage["status"], row["error"]["name"]) == ("cancelled", "cancelled", "RunCancelled")
    types = [event.type for event in queries.events_after(engine, run.pipeline_id)]
    assert types == ["stage.started", "stage.failed", "run.cancelled"]
    assert not request_cancel(engine, run.pipeline_id)


def test_a_run_by_hand_whose_completion_failed_is_not_stuck(engine: Engine, tmp_path: Path) -> None:
    run = by_hand(engine)
    for stage in STAGE_NAMES:
        run.stage_started(stage, interactive=True)
        run.stage_completed(stage, manifest_of(run, stage))
    folder = RunFolder(tmp_path, run.pipeline_id)
    for _ in range(2):  # its files are missing: the first try leaves it running, the second tries again
        with pytest.raises(Exception, match=r"manifest\.json"):
            complete_if_done(run, folder, "analytics")
        assert status_of(run) == "running"
    assert request_cancel(engine, run.pipeline_id)
    assert status_of(run) == "cancelled"
    assert not complete_if_done(run, folder, "analytics")


def test_texts_that_postgresql_refuses_are_kept_with_a_sign_in_place_of_what_it_refuses(engine: Engine) -> None:
    run = new_run(engine)
    run.record(Event(EventType.CELL_FAILED, {"message": "a\0b\ud800c", "deep": [{"\0": "é😀"}]}, "ingest"))
    (event,) = queries.events_after(engine, run.pipeline_id)
    assert event.data == {"message": "a\ufffdb?c", "deep": [{"\ufffd": "é😀"}]}


def test_a_database_whose_other_end_falls_silent_is_given_up_within_half_a_minute(engine: Engine) -> None:
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        agreed = raw.get_dsn_parameters()
    assert (agreed["tcp_user_timeout"], agreed["keepalives_idle"]) == ("30000", "10")


def test_a_user_who_may_create_no_tables_is_told_so_in_one_line(database_url: str, engine: Engine) -> None:
    engine.dispose()
    with engine.begin() as connection:
        connection.execute(text("drop schema public cascade"))
        connection.execute(text("create schema public"))
        connection.execute(text("drop role if exists workbench_test_reader"))
        connection.execute(text("create role workbench_test_reader"))
        connection.execute(text("grant usage on schema public to workbench_test_reader"))
    try:
        joint = "&" if "?" in database_url else "?"
        with pytest.raises(ServiceUnavailable, match="permission denied for schema public") as refusal:
            database.connect(f"{database_url}{joint}options=-c%20role%3Dworkbench_test_reader")
        assert "\n" not in str(refusal.value)
    finally:
        with engine.begin() as connection:
            connection.execute(text("drop schema public cascade"))
            connection.execute(text("drop role workbench_test_reader"))


def test_tables_of_a_newer_version_are_told_as_such(database_url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("update workbench_version set version_num = '9999'"))
    with pytest.raises(ServiceUnavailable, match="newer version of the workbench"):
        database.connect(database_url)
