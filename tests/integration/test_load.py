"""Stage 3's COPY into PostgreSQL: once, whole, each run for itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.load import load_processed, with_loaded
from tests.integration.dataset_rows import HOSTILE, SCHEMA, row
from workbench.base.errors import ConservationBroken, ServiceUnavailable
from workbench.stage.artefacts import StageResult

RUN, OTHER = "run_20261123t083012_a1b2c3", "run_20261123t083012_ffffff"
MONEY = pa.decimal128(18, 2)
ITEMS = pa.schema(
    [
        *SCHEMA,
        ("total_value", MONEY),
        ("discount_factor", pa.decimal128(3, 2)),
        ("discounted_value", MONEY),
        ("value_percentile", pa.float64()),
        ("value_tier", pa.string()),
        ("processed_at", pa.timestamp("us", "UTC")),
    ]
)
SUMS = [("record_count", pa.int64()), ("total_value", pa.decimal128(28, 2)), ("discounted_value", pa.decimal128(28, 2))]
PRICE = pa.decimal128(12, 2)
DERIVED = {
    "total_value": Decimal("5000000000.01"),
    "discount_factor": Decimal("0.90"),
    "discounted_value": Decimal("99999999990000.00"),
    "value_percentile": 1 / 3,
    "value_tier": "standard",
    "processed_at": datetime(2026, 11, 23, tzinfo=UTC),
}


def processed_folder(folder: Path, parts: list[list[dict[str, Any]]]) -> Path:
    """Write items in the given parts, and one row of each aggregate."""
    sums = {"record_count": 1, "total_value": Decimal("1.00"), "discounted_value": Decimal("0.90")}
    prices = dict.fromkeys(("value_average", "value_minimum", "value_maximum"), Decimal("1.00"))
    _write(folder, "by_category", 0, [{"category": "A", "record_count": 1, **prices, **sums}], pa.schema(
        [("category", pa.string()), SUMS[0], *[(name, PRICE) for name in prices], *SUMS[1:]]
    ))  # fmt: skip
    _write(folder, "by_country", 0, [{"country": None, **sums}], pa.schema([("country", pa.string()), *SUMS]))
    _write(folder, "by_day", 0, [{"day": date(2026, 11, 1), **sums}], pa.schema([("day", pa.date32()), *SUMS]))
    for number, rows in enumerate(parts):
        _write(folder, "items", number, [{**row, **DERIVED} for row in rows], ITEMS)
    return folder


def _write(folder: Path, table: str, number: int, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    path = folder / "processed" / table / f"part-{number:05}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def fetched(database_url: str, query: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def tables(database_url: str, schema: str) -> set[str]:
    return {name for (name,) in fetched(database_url, f"select tablename from pg_tables where schemaname = '{schema}'")}


ALL_TABLES = {"processed_items", "processed_by_category", "processed_by_country", "processed_by_day"}


def test_every_part_is_loaded_with_its_values_unchanged(database_url: str, tmp_path: Path) -> None:
    extra = '{"k":  "\\u00e9 \\\\N \\n", "k": 1.50}'
    rows = [row(i, name=text, customer_name=text, extra=extra, created_at=datetime(1, 1, 1, tzinfo=UTC))
            for i, text in enumerate(HOSTILE)]  # fmt: skip
    rows += [row(100, customer_name=None)]
    folder = processed_folder(tmp_path, [rows[:4], rows[4:8], rows[8:]])
    loaded = load_processed(database_url, RUN, folder)
    assert loaded == dict.fromkeys(ALL_TABLES, 1) | {"processed_items": len(rows)}
    columns = ", ".join(name if name != "extra" else "extra::text" for name in ITEMS.names)
    found = fetched(database_url, f"select {columns} from {RUN}.processed_items order by id")
    assert found == [tuple({**row, **DERIVED}.values()) for row in rows]
    assert tables(database_url, RUN) == ALL_TABLES


def test_a_repeated_load_doubles_nothing_and_replaces_what_was_there(database_url: str, tmp_path: Path) -> None:
    load_processed(database_url, RUN, processed_folder(tmp_path / "a", [[row(0), row(1)]]))
    load_processed(database_url, RUN, processed_folder(tmp_path / "b", [[row(1)], [row(2)]]))
    assert fetched(database_url, f"select id from {RUN}.processed_items order by id") == [(1,), (2,)]
    assert tables(database_url, RUN) == ALL_TABLES


def test_views_on_the_old_tables_do_not_stop_a_repeated_load(database_url: str, tmp_path: Path) -> None:
    folder = processed_folder(tmp_path, [[row(0)]])
    load_processed(database_url, RUN, folder)
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"create view {RUN}.staged as select * from {RUN}.processed_items")
    assert load_processed(database_url, RUN, folder)["processed_items"] == 1


def test_what_a_killed_attempt_left_is_removed_and_its_loader_ended(database_url: str, tmp_path: Path) -> None:
    with closing(psycopg2.connect(database_url)) as killed:
        cursor = killed.cursor()
        cursor.execute(f"create schema {RUN}; create table {RUN}.processed_items__loading_deadbeef (id bigint)")
        killed.commit()
        cursor.execute("select set_config('application_name', %s, false)", (f"workbench load {RUN}",))
        cursor.execute(f"lock table {RUN}.processed_items__loading_deadbeef")
        load_processed(database_url, RUN, processed_folder(tmp_path, [[row(0)]]))
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("select 1")
    assert tables(database_url, RUN) == ALL_TABLES


def test_two_runs_load_at_once_each_into_its_own_schema(database_url: str, tmp_path: Path) -> None:
    rows = {RUN: [row(i) for i in range(3000)], OTHER: [row(i, name="other") for i in range(2000)]}
    folders = {name: processed_folder(tmp_path / name, [found[:1000], found[1000:]]) for name, found in rows.items()}
    start = threading.Barrier(2)

    def load(schema: str) -> int:
        start.wait()
        return load_processed(database_url, schema, folders[schema])["processed_items"]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(load, [RUN, OTHER])) == [3000, 2000]
    assert fetched(database_url, f"select distinct name from {OTHER}.processed_items") == [("other",)]


def test_an_id_that_appears_twice_is_told_and_the_old_tables_stay(database_url: str, tmp_path: Path) -> None:
    load_processed(database_url, RUN, processed_folder(tmp_path / "a", [[row(0)]]))
    twice = processed_folder(tmp_path / "b", [[row(1)], [row(1)]])
    with pytest.raises(ConservationBroken, match=r"\(id\)=\(1\)"):
        load_processed(database_url, RUN, twice)
    assert fetched(database_url, f"select id from {RUN}.processed_items") == [(0,)]


def test_a_database_that_is_gone_is_one_clear_line_without_its_password(tmp_path: Path) -> None:
    folder = processed_folder(tmp_path, [[row(0)]])
    with pytest.raises(ServiceUnavailable, match="no connection to PostgreSQL") as caught:
        load_processed("postgresql://me:canary@127.0.0.1:9/nowhere", RUN, folder)
    assert "canary" not in str(caught.value)


def test_the_planner_knows_the_loaded_tables(database_url: str, tmp_path: Path) -> None:
    load_processed(database_url, RUN, processed_folder(tmp_path, [[row(i) for i in range(50)]]))
    known = fetched(database_url, f"select reltuples from pg_class where oid = '{RUN}.processed_items'::regclass")
    assert known == [(50.0,)]


def test_progress_ends_with_all_items(database_url: str, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    folder = processed_folder(tmp_path, [[row(0)], [row(1), row(2)]])
    load_processed(database_url, RUN, folder, lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (3, 3)]


def test_the_result_tells_what_was_loaded_or_that_it_is_not_what_was_processed() -> None:
    result = StageResult({"processed": 2}, {}, {"partitions": 1})
    assert with_loaded(result, {"processed_items": 2}).counts == {"processed": 2, "loaded": 2}
    with pytest.raises(ConservationBroken, match="2 records were processed, but 1 loaded"):
        with_loaded(result, {"processed_items": 1})
