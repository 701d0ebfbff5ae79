"""Publication on a real PostgreSQL: readers of `analytics` see one whole run, whatever they do meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2.errors import InvalidTextRepresentation, LockNotAvailable
from psycopg2.extensions import ISOLATION_LEVEL_READ_COMMITTED, ISOLATION_LEVEL_REPEATABLE_READ
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DataError, OperationalError

from tests.faults.bench import until
from workbench.base.errors import ManifestBroken
from workbench.data.previous_marts import drop_no_longer_read, set_aside
from workbench.data.publication import MARTS, publish, published_runs, published_schemas
from workbench.stage.artefacts import schema_of

RUNS = [f"20261123t0830{number:02}_a1b2c3" for number in range(10)]
BEGIN = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
ROWS = 3
SCHEMA = "analytics"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine whose every connection is a new one."""
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(database_url), poolclass=NullPool)
    yield engine
    engine.dispose()


def test_nothing_is_published_at_first(engine: Engine) -> None:
    with engine.begin() as connection:
        assert published_runs(connection) == frozenset()
        assert published_schemas(connection) == frozenset()
    assert not set_aside(engine, schema_of(RUNS[0]))


def test_readers_see_the_run_that_was_published_last(engine: Engine) -> None:
    for number in (0, 1, 2):
        make_marts(engine, number)
        publish_run(engine, number)
        assert seen(engine) == {RUNS[number]}
    with engine.begin() as connection:
        assert published_runs(connection) == {RUNS[2]}
        assert published_schemas(connection) == {schema_of(RUNS[1]), schema_of(RUNS[2])}


def test_a_publication_that_is_rolled_back_never_was(engine: Engine) -> None:
    make_marts(engine, 0)
    make_marts(engine, 1)
    publish_run(engine, 0)
    with engine.connect() as connection:
        publish(connection, SCHEMA, RUNS[1], created(1))
        connection.rollback()
    assert seen(engine) == {RUNS[0]}


def test_a_run_without_marts_is_refused_and_named(engine: Engine) -> None:
    with pytest.raises(ManifestBroken, match=f"{schema_of(RUNS[0])} has no item_metrics"):
        publish_run(engine, 0)


def test_a_snapshot_older_than_the_publication_sees_the_run_before_whole(engine: Engine) -> None:
    make_marts(engine, 0)
    publish_run(engine, 0)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        reader.execute(text("select 1"))
        make_marts(engine, 1)
        publish_run(engine, 1)
        assert read_all(reader) == {RUNS[0]: ROWS * len(MARTS)}
    assert seen(engine) == {RUNS[1]}


def test_a_snapshot_older_than_two_publications_is_told_to_begin_anew(engine: Engine) -> None:
    for number in (0, 1, 2):
        make_marts(engine, number)
    publish_run(engine, 0)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as reader:
        reader.execute(text("select 1"))
        publish_run(engine, 1)
        publish_run(engine, 2)
        with pytest.raises(DataError, match="this transaction is too old, begin a new one"):
            read_all(reader)


def test_a_reader_of_one_record_uses_the_index(engine: Engine) -> None:
    for number in (0, 1):
        make_marts(engine, number)
        with engine.begin() as connection:
            table = f"{schema_of(RUNS[number])}.item_metrics"
            connection.exec_driver_sql(f"insert into {table} select 'x', g from generate_series(4, 20000) as g")
            connection.exec_driver_sql(f"create index on {table} (id); analyze {table}")
        publish_run(engine, number)
    with engine.connect() as connection:
        plan = connection.execute(text("explain analyze select * from analytics.item_metrics where id = 7")).scalars()
        assert "Seq Scan on item_metrics" not in "\n".join(plan)


def test_a_mart_with_other_columns_replaces_the_view(engine: Engine) -> None:
    make_marts(engine, 0)
    publish_run(engine, 0)
    make_marts(engine, 1, columns="{run} as run, 1 as id, 2 as more")
    publish_run(engine, 1)
    with engine.connect() as connection:
        assert connection.execute(text("select distinct run, more from analytics.item_metrics")).all() == [(RUNS[1], 2)]


def test_marts_that_readers_see_survive_being_built_again(engine: Engine) -> None:
    make_marts(engine, 0)
    publish_run(engine, 0)
    for _ in range(2):
        set_aside(engine, schema_of(RUNS[0]))
        with engine.begin() as connection:
            connection.exec_driver_sql(f"drop schema {schema_of(RUNS[0])} cascade")
        make_marts(engine, 0)
        assert seen(engine) == {RUNS[0]}


def test_what_was_set_aside_is_dropped_by_the_publication_after_the_next(engine: Engine) -> None:
    make_marts(engine, 0)
    publish_run(engine, 0)
    assert set_aside(engine, schema_of(RUNS[0]))
    for number in (0, 1):
        make_marts(engine, number)
        publish_run(engine, number)
        drop_no_longer_read(engine)
    with engine.begin() as connection:
        schemas = connection.execute(text("select nspname from pg_namespace where nspname like 'run!_%' escape '!'"))
        assert set(schemas.scalars()) == {schema_of(RUNS[0]), schema_of(RUNS[1])}


def test_a_reader_in_mid_transaction_is_waited_for(engine: Engine) -> None:
    make_marts(engine, 0)
    make_marts(engine, 1)
    publish_run(engine, 0)
    with ThreadPoolExecutor() as pool, engine.connect() as reader:
        first = reader.execute(text("select min(run) from analytics.country_summary")).scalar()
        publisher = pool.submit(publish_run, engine, 1)
        second = reader.execute(text("select min(run) from analytics.item_metrics")).scalar()
        reader.commit()
        assert (first, second) == (RUNS[0], RUNS[0])
        publisher.result()
    assert seen(engine) == {RUNS[1]}


@pytest.mark.parametrize("isolation", [ISOLATION_LEVEL_READ_COMMITTED, ISOLATION_LEVEL_REPEATABLE_READ])
def test_no_reader_ever_sees_two_runs_in_one_transaction(engine: Engine, database_url: str, isolation: int) -> None:
    for number in range(len(RUNS)):
        make_marts(engine, number)
    publish_run(engine, 0)
    with ThreadPoolExecutor(max_workers=4) as pool:
        readers = [pool.submit(read_often, database_url, isolation, seed) for seed in range(3)]
        for number in range(1, len(RUNS)):
            publish_run(engine, number)
        transactions = [transaction for reader in readers for transaction in reader.result()]
    assert all(len(runs) == 1 for runs in transactions), transactions
    assert seen(engine) == {RUNS[-1]}


def read_often(database_url: str, isolation: int, seed: int) -> list[set[tuple[str, int]]]:
    """Read all views 60 times, in any order, in one transaction each; return the runs and row counts seen in each."""
    order = random.Random(seed)
    with closing(psycopg2.connect(database_url)) as connection:
        connection.set_session(isolation)
        return [read_once(connection, order.sample(MARTS, len(MARTS))) for _ in range(60)]


def read_once(connection: psycopg2.extensions.connection, marts: list[str]) -> set[tuple[str, int]]:
    """Read the views in this order in one transaction, and again when its snapshot turns out to be too old."""
    runs: set[tuple[str, int]] = set()
    try:
        with connection, connection.cursor() as cursor:
            for mart in marts:
                cursor.execute(f"select run, count(*) from analytics.{mart} group by run")
                runs.update(cursor.fetchall())
    except InvalidTextRepresentation:
        return read_once(connection, marts)
    return runs


def make_marts(engine: Engine, number: int, columns: str = "{run} as run, id") -> None:
    """Make the four marts of a run: three rows each, which say whose they are."""
    schema = schema_of(RUNS[number])
    selected = columns.format(run=f"cast('{RUNS[number]}' as text)")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"create schema if not exists {schema}")
        for mart in MARTS:
            connection.exec_driver_sql(
                f"create table {schema}.{mart} as select {selected} from generate_series(1, {ROWS}) as id"
            )


def publish_run(engine: Engine, number: int) -> None:
    """Publish a run, trying again as long as readers are in the way."""
    until(lambda: is_published(engine, number), "readers let a publication through", 60)


def is_published(engine: Engine, number: int) -> bool:
    try:
        with engine.begin() as connection:
            publish(connection, SCHEMA, RUNS[number], created(number))
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        return False
    return True


def created(number: int) -> datetime:
    return BEGIN + timedelta(seconds=number)


def read_all(connection: Connection) -> dict[str, int]:
    """Count the rows of each run over all views."""
    union = " union all ".join(f"select run from analytics.{mart}" for mart in MARTS)
    rows = connection.execute(text(f"select run, count(*) from ({union}) u group by run"))
    return {row[0]: row[1] for row in rows}


def seen(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(read_all(connection))
