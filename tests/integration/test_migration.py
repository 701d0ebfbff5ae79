"""Tables change on purpose only, not under runs at work, and other applications' tables are left alone."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from tests.e2e.conftest import WORKBENCH
from workbench.base.errors import MigrationNeeded, MigrationRefused, NoRunYet
from workbench.state import database, migration, queries
from workbench.state.database import sqlalchemy_url
from workbench.state.migration import Tables
from workbench.state.models import Base

FOREIGN = "ae1027a6acf0"
_NEW_RUN = text("""
insert into pipelines (id, status, trigger, parameters, lease_owner, lease_expires_at)
values ('20261123t083012_a1b2c3', 'running', 'cli', '{}', gen_random_uuid(), now() + interval '1 hour' * :hours)
""")


@pytest.fixture
def former(database_url: str) -> Iterator[Engine]:
    """An engine on a database as a version before revision 0006 has left it."""
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.begin() as connection:
        config = migration.configuration(connection)
        config.attributes["version_table"] = "alembic_version"
        command.upgrade(config, "0003")
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "_WATCH_SECONDS", 1.0)


def begin_run(engine: Engine, hours: int) -> None:
    with engine.begin() as connection:
        connection.execute(_NEW_RUN, {"hours": hours})


def versions(engine: Engine, table: str = "alembic_version") -> list[str]:
    with engine.connect() as connection:
        return sorted(connection.execute(text(f"select version_num from {table}")).scalars())


def tables_of(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
def test_a_database_of_ours_moves_to_a_version_table_of_its_own(former: Engine, database_url: str) -> None:
    begin_run(former, hours=-1)
    database.connect(database_url).dispose()
    assert versions(former) == []
    assert versions(former, migration.VERSION_TABLE) == [migration.newest_revision()]
    with former.connect() as connection:
        assert connection.execute(text("select count(*) from pipelines")).scalar_one() == 1


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
def test_the_version_of_another_application_stays(former: Engine, database_url: str) -> None:
    with former.begin() as connection:
        connection.execute(text("insert into alembic_version values (:foreign)"), {"foreign": FOREIGN})
    database.connect(database_url).dispose()
    assert versions(former) == [FOREIGN]


@pytest.mark.promise("P19", "what is not proven ours is never removed or replaced")
@pytest.mark.parametrize("revision", [FOREIGN, "0003"])
def test_a_foreign_version_is_not_taken_for_ours_without_our_tables(database_url: str, revision: str) -> None:
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.begin() as connection:
        connection.execute(text("create table alembic_version (version_num varchar(32) primary key)"))
        connection.execute(text("insert into alembic_version values (:revision)"), {"revision": revision})
    with pytest.raises(NoRunYet):
        database.connect_to_read(database_url)
    database.connect(database_url).dispose()
    assert versions(engine) == [revision]
    assert migration.compared(engine) == (Tables.CURRENT, migration.newest_revision())
    engine.dispose()


def test_who_looks_changes_no_table(former: Engine, database_url: str) -> None:
    for look in (database.connect_to_read, database.connect_by_hand):
        with pytest.raises(MigrationNeeded, match=r"older version .+\(0003\); `workbench migrate`") as refusal:
            look(database_url)
        assert refusal.value.exit_code == 2
    assert versions(former) == ["0003"]


def test_tables_do_not_change_under_runs_at_work(former: Engine, database_url: str) -> None:
    begin_run(former, hours=1)
    with pytest.raises(MigrationRefused, match="at work: 20261123t083012_a1b2c3; wait") as refusal:
        database.connect(database_url)
    assert refusal.value.exit_code == 2
    assert versions(former) == ["0003"]
    with former.begin() as connection:
        connection.execute(text("update pipelines set lease_expires_at = now() - interval '1 second'"))
    database.connect(database_url).dispose()
    assert versions(former, migration.VERSION_TABLE) == [migration.newest_revision()]


@pytest.mark.promise("P23", "pauses and clock jumps kill no living run and hide no result")
def test_tables_do_not_change_under_a_run_that_was_stopped_for_longer_than_its_lease(
    former: Engine, database_url: str
) -> None:
    begin_run(former, hours=-1)
    with ThreadPoolExecutor(1) as pool:
        migrating = pool.submit(database.connect, database_url)
        renewal = text("update pipelines set lease_expires_at = lease_expires_at + interval '1 millisecond'")
        while not migrating.done():  # the lease is over, and renewed
            with former.begin() as connection:
                connection.execute(renewal)
            time.sleep(0.05)
        with pytest.raises(MigrationRefused, match="at work: 20261123t083012_a1b2c3; wait"):
            migrating.result()
    assert versions(former) == ["0003"]


def test_migrations_give_the_tables_that_the_models_describe(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": migration.VERSION_TABLE}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_concurrent_migrations_wait_for_each_other(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(database.connect, [database_url] * 4))
    with engines[0].connect() as connection:
        assert connection.execute(text("select count(*) from pipelines")).scalar_one() == 0
    for each in engines:
        each.dispose()


def test_an_empty_database_shows_no_runs_and_stays_empty(database_url: str, tmp_path: Path) -> None:
    shown = _workbench(database_url, tmp_path, "runs", "--json")
    assert (shown.returncode, shown.stdout.strip()) == (0, "[]")
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.connect() as connection:
        assert tables_of(connection) == set()
    engine.dispose()


def test_the_command_migrates_and_says_so_in_one_line(former: Engine, database_url: str, tmp_path: Path) -> None:
    refused = _workbench(database_url, tmp_path, "runs")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "`workbench migrate`" in refused.stderr
    done = _workbench(database_url, tmp_path, "migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert migration.newest_revision() in done.stdout
    assert _workbench(database_url, tmp_path, "runs").returncode == 0


def _workbench(database_url: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": database_url, "WORKBENCH_HOME": str(home)}
    return subprocess.run(
        [WORKBENCH, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_runs_of_the_version_before_get_the_five_stages_they_were_begun_with(database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(database_url))
    with engine.begin() as connection:
        command.upgrade(migration.configuration(connection), "0007")
    begin_run(engine, hours=-1)
    database.connect(database_url).dispose()
    row = queries.run_row(engine, "20261123t083012_a1b2c3")
    chain = queries.chain_of(row)
    assert [stage.name for stage in chain.stages] == ["generate", "ingest", "process", "transform", "export"]
    assert queries.record_counts(chain, {"read": 7, "rejected": 2})["generated"] == 7
    engine.dispose()
