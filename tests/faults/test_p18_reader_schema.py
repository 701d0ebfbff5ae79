"""P18: readers keep their rights and views, and what somebody else has made in their schema is left as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.faults.bench import Bench
from tests.faults.publishing import (
    SCHEMA,
    completed_run,
    execute,
    seen,
    status_of,
)
from workbench.base.errors import ReaderSchemaRefused
from workbench.base.settings import Settings
from workbench.data.publication import check_reader_schema
from workbench.run.publisher import Attempt, check_readers, publish_due
from workbench.run.retention import clean_runs

pytestmark = pytest.mark.promise(
    "P18",
    "a run that has exported is completed; publication never fails it, is retried until done, and is told",
)
OTHER_TYPE = "{run} as run, 7.5 as amount"
MORE_COLUMNS = "0 as first, {run} as run, 7 as amount, 1 as last"


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, workbench_home=tmp_path)


@pytest.fixture
def role(engine: Engine) -> Iterator[str]:
    """A reader with rights of his own; roles are the server's, so its name is the database's."""
    name = f"reader_of_{engine.url.database}"
    execute(engine, f"create role {name}")
    yield name
    execute(engine, f"drop owned by {name}", f"drop role {name}")


def test_a_new_column_is_appended_and_rights_and_views_of_readers_stay(engine: Engine, role: str) -> None:
    completed_run(engine)
    publish_due(engine)
    execute(
        engine,
        f"grant usage on schema {SCHEMA} to {role}",
        f"grant select on {SCHEMA}.item_metrics to {role}",
        f"create view mine as select run from {SCHEMA}.item_metrics",
    )
    second = completed_run(engine, MORE_COLUMNS)
    assert publish_due(engine) == [Attempt(second, SCHEMA)]
    with engine.begin() as connection:
        connection.exec_driver_sql(f"set local role {role}")
        row = connection.exec_driver_sql(f"select * from {SCHEMA}.item_metrics").mappings().one()
    assert list(row.items()) == [("run", second), ("amount", 7), ("first", 0), ("last", 1)]


def test_a_column_of_another_type_keeps_rights_comments_and_options(engine: Engine, role: str) -> None:
    completed_run(engine)
    publish_due(engine)
    view = f"{SCHEMA}.item_metrics"
    execute(
        engine,
        f"grant select, references on {view} to {role} with grant option",
        f"grant update (run) on {view} to {role}",
        f"grant select on {view} to public",
        f"comment on view {view} is 'all of it, 100%%'",
        f"comment on column {view}.amount is 'EUR'",
        f"alter view {view} set (security_barrier = true)",
    )
    before = rights_of(engine, view)
    execute(engine, f"alter default privileges in schema {SCHEMA} grant all on tables to {role}")
    second = completed_run(engine, OTHER_TYPE)
    assert publish_due(engine) == [Attempt(second, SCHEMA)]
    assert seen(engine) == {second}
    assert rights_of(engine, view) == before


def rights_of(engine: Engine, view: str) -> dict[str, object]:
    query = text("""
        select array(select unnest(relacl)::text order by 1) as rights, reloptions, obj_description(oid, 'pg_class'),
            (select jsonb_object_agg(attname, array[attacl::text, col_description(oid, attnum)])
             from pg_attribute where attrelid = pg_class.oid and attnum > 0) as columns
        from pg_class where oid = to_regclass(:view)
    """)
    with engine.connect() as connection:
        return dict(connection.execute(query, {"view": view}).mappings().one())


def test_a_change_that_cannot_be_made_in_place_names_what_depends_on_the_view_and_waits(engine: Engine) -> None:
    first = completed_run(engine)
    publish_due(engine)
    execute(engine, f"create view mine as select amount from {SCHEMA}.item_metrics")
    second = completed_run(engine, OTHER_TYPE)
    (attempt,) = publish_due(engine)
    assert attempt.reason is not None
    assert "column amount is numeric instead of integer" in attempt.reason
    assert f"view mine depends on view {SCHEMA}.item_metrics" in attempt.reason
    assert status_of(engine, second) == ("completed", "pending")
    assert seen(engine) == {first}
    execute(engine, "drop view mine")
    assert publish_due(engine) == [Attempt(second, SCHEMA)]


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("view", "create view {name} as select 1 as theirs"),
        ("table", "create table {name} (theirs integer)"),
        ("materialized view", "create materialized view {name} as select 1 as theirs"),
        ("type", "create type {name} as enum ('theirs')"),
    ],
)
def test_what_somebody_else_has_made_is_refused_by_name_and_left_as_it_is(engine: Engine, kind: str, made: str) -> None:
    completed = completed_run(engine)
    execute(engine, f"create schema {SCHEMA}", made.format(name=f"{SCHEMA}.daily_summary"))
    with pytest.raises(ReaderSchemaRefused, match=rf"schema {SCHEMA}: the {kind} daily_summary .* WORKBENCH_SCHEMA"):
        check_readers(engine, SCHEMA)
    (attempt,) = publish_due(engine)
    assert f"the {kind} daily_summary was not made by the workbench" in str(attempt.reason)
    assert status_of(engine, completed) == ("completed", "pending")
    execute(engine, f"drop {kind} {SCHEMA}.daily_summary")  # it is what it was
    assert publish_due(engine) == [Attempt(completed, SCHEMA)]


def test_a_table_of_another_application_by_the_name_of_ours_is_refused(engine: Engine) -> None:
    execute(engine, f"create schema {SCHEMA}", f"create table {SCHEMA}.published_run (run integer)")
    with pytest.raises(ReaderSchemaRefused, match="the table published_run was not made by the workbench"):
        check_readers(engine, SCHEMA)


def test_a_schema_that_may_not_be_written_is_refused_before_a_run_starts(engine: Engine, role: str) -> None:
    execute(engine, f"create schema {SCHEMA}", f"grant usage on schema {SCHEMA} to {role}")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"set local role {role}")
        with pytest.raises(ReaderSchemaRefused, match=f"schema {SCHEMA}: .* may not create views in it"):
            check_reader_schema(connection, SCHEMA)


def test_another_schema_for_readers_is_a_setting_and_the_former_keeps_its_run(engine: Engine, here: Settings) -> None:
    first, second = completed_run(engine), completed_run(engine, schema="reporting")
    third = completed_run(engine, schema="reporting")
    assert publish_due(engine) == [Attempt(first, SCHEMA), Attempt(third, "reporting", superseded=(second,))]
    assert (seen(engine), seen(engine, "reporting")) == ({first}, {third})
    assert clean_runs(engine, here, keep=0) == [second]
    assert (seen(engine), seen(engine, "reporting")) == ({first}, {third})


def test_a_run_that_could_not_be_published_is_refused_before_it_starts(bench: Bench) -> None:
    execute(bench.engine, f"create schema {SCHEMA}", f"create table {SCHEMA}.daily_summary (theirs integer)")
    refused = bench.run()
    assert refused.wait() == 2
    assert f"workbench: schema {SCHEMA}: the table daily_summary was not made by the workbench" in refused.said()
    assert bench.run_ids() == set()
