"""P18: a run that has exported is completed; what is in the way of its publication delays that and is told."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.conftest import fresh_database
from tests.faults.bench import Bench, until
from tests.faults.invariants import check_invariants
from tests.faults.publishing import (
    SCHEMA,
    completed_run,
    connected,
    dump_of,
    execute,
    reading,
    seen,
    status_of,
)
from workbench.base.settings import Settings
from workbench.cli.text_tables import publication_text
from workbench.data.publication import MARTS
from workbench.run import publisher
from workbench.run.publisher import Attempt, publish_due, publish_soon
from workbench.stage.artefacts import schema_of
from workbench.state import queries
from workbench.state.run_document import run_document

pytestmark = pytest.mark.promise(
    "P18",
    "a run that has exported is completed; publication never fails it, is retried until done, and is told",
)


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, workbench_home=tmp_path)


def types_of_events(engine: Engine, pipeline_id: str) -> list[str]:
    return [event.type for event in queries.events_after(engine, pipeline_id)]


def test_a_reader_in_mid_transaction_delays_the_publication_and_completes_the_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, here: Settings
) -> None:
    monkeypatch.setattr(publisher, "_PATIENCE_SECONDS", 0.5)
    first = completed_run(engine)
    assert publish_due(engine) == [Attempt(first, SCHEMA)]
    with reading(engine):
        second = completed_run(engine)
        (attempt,) = publish_soon(engine)
        assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
        assert status_of(engine, second) == ("completed", "pending")
        assert seen(engine) == {first}
    assert attempt.reason is not None
    assert "dashboard" in attempt.reason
    told = run_document(engine, here, second)["publication"]
    assert (
        publication_text(told) == f"Not yet published in schema {SCHEMA}: {attempt.reason}; every command tries again"
    )
    assert publish_due(engine) == [Attempt(second, SCHEMA)]
    assert seen(engine) == {second}
    assert types_of_events(engine, second) == ["run.started", "run.completed", "run.published"]
    assert [status_of(engine, run)[1] for run in (first, second)] == ["superseded", "published"]


def test_a_run_that_is_told_to_stop_leaves_its_publication_to_others_at_once(engine: Engine) -> None:
    completed_run(engine)
    publish_due(engine)
    stop = threading.Event()
    stop.set()
    with reading(engine):
        completed_run(engine)
        (attempt,) = publish_soon(engine, stop)
    assert not attempt.published


@pytest.mark.parametrize("mode", ["share update exclusive", "access share"])
def test_an_autovacuum_or_a_dump_of_the_marts_delays_nothing(engine: Engine, mode: str) -> None:
    first = completed_run(engine)
    publish_due(engine)
    with engine.begin() as other:
        second = completed_run(engine)
        for schema in (schema_of(first), schema_of(second)):
            for mart in MARTS:
                other.exec_driver_sql(f"lock table {schema}.{mart} in {mode} mode")
        other.exec_driver_sql(f"lock table {SCHEMA}.published_run in {mode} mode")
        assert publish_due(engine) == [Attempt(second, SCHEMA)]
    assert seen(engine) == {second}


def test_a_publication_in_the_middle_of_a_dump_leaves_the_dump_whole(
    engine: Engine, server_url: str, tmp_path: Path
) -> None:
    first = completed_run(engine)
    publish_due(engine)
    execute(engine, "create table zz_last (id integer)")
    second = completed_run(engine)
    with engine.begin() as holder:
        holder.exec_driver_sql("lock table zz_last in access exclusive mode")
        dump = dump_of(engine, tmp_path / "dump.sql")
        until(lambda: dump.waits(engine), "the dump waits for the last table", 20)
        assert publish_due(engine) == [Attempt(second, SCHEMA)]
    with fresh_database(server_url) as url:
        dump.restore(url)
        copy = connected(url)
        assert seen(copy) == {first}
    assert seen(engine) == {second}


def test_an_attempt_that_the_clock_says_is_still_to_come_delays_nothing(engine: Engine) -> None:
    completed_run(engine)
    publish_due(engine)
    with reading(engine):
        completed_run(engine)
        assert not publish_due(engine)[0].published
        assert publish_due(engine, paced=True) == []
        execute(engine, "update pipeline_publications set attempted_at = attempted_at + interval '20 years'")
        assert len(publish_due(engine, paced=True)) == 1


def test_a_run_ends_while_a_reader_is_in_mid_transaction_and_the_next_command_publishes_it(bench: Bench) -> None:
    before = completed_run(bench.engine)
    publish_due(bench.engine)
    with reading(bench.engine):
        run = bench.run()
        assert run.wait() == 0, run.said()
        assert f"Not yet published in schema {SCHEMA}: it waits for the end of the transaction" in run.said()
        assert "stamina" not in run.said()
    assert status_of(bench.engine, run.pipeline_id) == ("completed", "pending")
    look = bench.start("show", run.pipeline_id)
    assert look.wait() == 0
    assert f"run {run.pipeline_id} is published in schema {SCHEMA}" in look.said()
    assert f"Published in schema {SCHEMA}" in look.said()
    assert check_invariants(run)["status"] == "completed"
    assert status_of(bench.engine, before)[1] == "superseded"
