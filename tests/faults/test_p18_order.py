"""P18: readers see the newest completed run, whatever the clock says, while runs are resumed and cleaned away."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, text

from tests.faults.bench import until
from tests.faults.looking import run_schemas
from tests.faults.publishing import (
    SCHEMA,
    complete,
    completed_run,
    connected,
    execute,
    reading,
    seen,
    started_run,
    status_of,
)
from workbench.base.errors import ServiceUnavailable
from workbench.base.settings import Settings
from workbench.data import previous_marts
from workbench.data.previous_marts import set_aside
from workbench.data.publication import MARTS, publish
from workbench.run.publisher import Attempt, check_readers, publish_due, publish_soon
from workbench.run.retention import clean_runs
from workbench.stage.artefacts import schema_of
from workbench.state import database, migration, queries
from workbench.state.next_attempt import reopen_run
from workbench.state.publication_queue import pending_publications, publication_of, request_publication
from workbench.state.states import RunStatus

pytestmark = pytest.mark.promise(
    "P18",
    "a run that has exported is completed; publication never fails it, is retried until done, and is told",
)
OTHER_TYPE = "{run} as run, 7.5 as amount"
DEADLOCK_TIMEOUT = 1.0


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, workbench_home=tmp_path)


def test_a_published_run_from_the_future_keeps_no_later_one_from_the_readers(engine: Engine) -> None:
    first = started_run(engine)
    execute(engine, "update pipelines set created_at = created_at + interval '20 years'")
    complete(first)
    publish_due(engine)
    second = completed_run(engine)
    assert publish_due(engine) == [Attempt(second, SCHEMA)]
    assert seen(engine) == {second}
    assert queries.latest_run(engine) == second
    assert [row["pipeline_id"] for row in queries.key_figures(engine)] == [second, first.pipeline_id]


def test_a_newer_run_is_published_in_place_of_one_that_waits(engine: Engine) -> None:
    execute(engine, f"create schema {SCHEMA}", f"create table {SCHEMA}.daily_summary (theirs integer)")
    first, second = completed_run(engine), completed_run(engine)
    assert [attempt.pipeline_id for attempt in publish_due(engine)] == [second]
    execute(engine, f"drop table {SCHEMA}.daily_summary")
    (attempt,) = publish_due(engine)
    assert str(attempt) == f"run {second} is published in schema {SCHEMA}; not published any more: {first}"
    assert status_of(engine, first) == ("completed", "superseded")
    assert f"run {second}, a newer one, is published" in str(publication_of(engine, first))
    assert publish_due(engine) == []


def test_an_older_run_that_completes_later_does_not_replace_the_newer_one(engine: Engine) -> None:
    older, newer = started_run(engine), started_run(engine)
    complete(newer)
    publish_due(engine)
    complete(older)
    assert publish_due(engine) == [Attempt(newer.pipeline_id, SCHEMA, superseded=(older.pipeline_id,))]
    assert status_of(engine, older.pipeline_id) == ("completed", "superseded")
    assert seen(engine) == {newer.pipeline_id}


def test_many_publishers_at_once_leave_the_newest_run_published_once(engine: Engine) -> None:
    runs = [started_run(engine) for _ in range(8)]
    order = random.Random(7).sample(runs, len(runs))
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda run: (complete(run), publish_soon(engine)), order))
    publish_soon(engine)
    assert seen(engine) == {runs[-1].pipeline_id}
    assert pending_publications(engine) == []
    published = [status_of(engine, run.pipeline_id)[1] for run in runs]
    assert published == ["superseded"] * 7 + ["published"]


def test_a_run_that_is_resumed_is_not_published_before_it_completes_again(engine: Engine) -> None:
    first = completed_run(engine)
    publish_due(engine)
    with reading(engine):
        second = completed_run(engine)
        publish_due(engine)
    again = reopen_run(engine, second, 60, "transform")
    assert publish_due(engine) == []
    assert seen(engine) == {first}
    again.start()
    assert set_aside(engine, schema_of(second)) is False  # no reader sees its marts
    again.complete("out.json", also=lambda connection: request_publication(connection, second, SCHEMA))
    assert publish_due(engine) == [Attempt(second, SCHEMA)]


def test_readers_see_a_published_run_while_it_is_resumed_and_its_new_marts_afterwards(engine: Engine) -> None:
    run = completed_run(engine)
    publish_due(engine)
    again = reopen_run(engine, run, 60, "transform")
    again.start()
    with engine.begin() as vacuum:
        vacuum.exec_driver_sql(f"lock table {schema_of(run)}.item_metrics in share update exclusive mode")
        with ThreadPoolExecutor() as pool:
            moving = pool.submit(set_aside, engine, schema_of(run))
            until(lambda: longest_wait(engine) > DEADLOCK_TIMEOUT, "the move outlasts deadlock_timeout", 20)
            vacuum.rollback()  # what PostgreSQL does to an autovacuum that somebody has waited for so long
            assert moving.result()
    assert seen(engine) == {run}
    complete(again, OTHER_TYPE)
    assert seen(engine) == {run}
    publish_due(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"select amount from {SCHEMA}.item_metrics").scalar_one() == Decimal("7.5")


def longest_wait(engine: Engine) -> float:
    """Return for how many seconds a session has stood in front of one lock."""
    query = text("select coalesce(max(extract(epoch from clock_timestamp() - waitstart)), 0) from pg_locks")
    with engine.connect() as connection:
        return float(connection.execute(query).scalar_one())


def test_a_move_that_was_cut_off_is_finished_by_the_next_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = completed_run(engine)
    publish_due(engine)
    monkeypatch.setattr(previous_marts, "_SECONDS_FOR_LOCKS", 0.0)
    with engine.begin() as reader:
        reader.exec_driver_sql(f"lock table {schema_of(run)}.country_summary in access share mode")
        with pytest.raises(ServiceUnavailable, match=r"country_summary, which readers see"):
            set_aside(engine, schema_of(run))
        assert seen(engine) == {run}
    assert set_aside(engine, schema_of(run))
    execute(engine, f"drop schema {schema_of(run)} cascade")
    assert seen(engine) == {run}


def test_marts_set_aside_that_somebody_has_built_a_view_on_are_not_dropped(engine: Engine) -> None:
    run = completed_run(engine)
    publish_due(engine)
    set_aside(engine, schema_of(run))
    (aside,) = [name for name in run_schemas(engine) if "_p" in name]
    execute(engine, f"create view mine as select * from {aside}.item_metrics")
    for _ in range(2):
        completed_run(engine)
        publish_due(engine)
    execute(engine, "drop view mine")
    completed_run(engine)
    publish_due(engine)
    assert aside not in run_schemas(engine)


def test_cleaning_leaves_the_published_run_and_the_one_that_waits_to_be(engine: Engine, here: Settings) -> None:
    old, first = completed_run(engine), completed_run(engine)
    publish_due(engine)
    with reading(engine):
        second = completed_run(engine)
        publish_due(engine)
        third = started_run(engine)
        third.end_badly(RunStatus.FAILED, {"name": "X", "message": "y"})
        assert set(clean_runs(engine, here, keep=1)) == {old}
    assert publish_due(engine) == [Attempt(second, SCHEMA)]
    assert set(clean_runs(engine, here, keep=1)) == {first}
    assert seen(engine) == {second}


def test_a_database_of_the_version_before_goes_on_where_it_was(database_url: str) -> None:
    ours = connected(database_url)
    migrated(ours, "0003")
    for number in (1, 2):
        execute(
            ours,
            "insert into pipelines (id, status, trigger, parameters, created_at) values"
            f" ('{old_run(number)}', 'completed', 'cli', '{{}}', now() + interval '{20 * number} years')",
            f"create schema {schema_of(old_run(number))}",
            *(
                f"create table {schema_of(old_run(number))}.{mart} as select 'old' as run, 7 as amount"
                for mart in MARTS
            ),
        )
    with ours.begin() as connection:
        publish(connection, SCHEMA, old_run(2), datetime(2046, 11, 23, tzinfo=UTC))
    engine = database.connect(database_url)
    assert [status_of(engine, old_run(number))[1] for number in (1, 2)] == ["superseded", "published"]
    check_readers(engine, SCHEMA)
    newest = completed_run(engine)
    assert publish_due(engine) == [Attempt(newest, SCHEMA)]
    assert seen(engine) == {newest}
    engine.dispose()


def old_run(number: int) -> str:
    return f"20261123t08301{number}_a1b2c3"


def migrated(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        command.upgrade(migration.configuration(connection), revision)
