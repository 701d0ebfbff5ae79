"""Stage 4 on a real PostgreSQL: what the marts hold, and what happens when something is wrong with them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest
from tests.integration.processed_tables import create_processed_tables, in_schema
from psycopg2.extensions import parse_dsn

from pipeline_lib.errors import ManifestBroken, ModelTestFailed, ServiceUnavailable
from pipeline_lib.parameters import TransformParameters
from pipeline_lib.stages.transform import build_marts, mart_counts, transform

SCHEMA = "run_20261123t083012_a1b2c3"
OTHER = "run_20261123t083012_d4e5f6"
PARAMETERS = TransformParameters(dbt_threads=2, reference_time="2026-11-23T10:00:00+02:00")
CANARY = "canary-0b8e1f"


def test_each_record_has_the_tiers_the_rules_give_it(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    transform(database_url, SCHEMA, tmp_path, PARAMETERS)
    with in_schema(database_url, SCHEMA) as cursor:
        cursor.execute("select id, pricing_tier, is_high_value, stock_status from item_metrics order by id")
        assert cursor.fetchall() == [
            (0, "basic", False, "available"),
            (1, "standard", False, "low_stock"),
            (2, "standard", False, "inactive"),
            (3, "premium", True, "low_stock"),
            (4, "basic", False, "out_of_stock"),
        ]
        cursor.execute("select category_avg_value, transformed_at, extra from item_metrics where id < 2 order by id")
        moment = datetime(2026, 11, 23, 8, tzinfo=UTC)
        assert cursor.fetchall() == [
            (Decimal("1000.01"), moment, {}),
            (Decimal("1000.01"), moment, {"colour": "red"}),
        ]


def test_the_summaries_count_every_record_once(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    result = transform(database_url, SCHEMA, tmp_path, PARAMETERS)
    assert result.counts == {"transformed": 5}
    with in_schema(database_url, SCHEMA) as cursor:
        cursor.execute("select country, record_count from country_summary order by country")
        assert cursor.fetchall() == [("GB", 1), ("SE", 2), ("unknown", 2)]
        cursor.execute("select day, record_count from daily_summary order by day")
        assert cursor.fetchall() == [(date(2026, 11, 20), 2), (date(2026, 11, 21), 2), (date(2026, 11, 22), 1)]
        cursor.execute("select category, record_count, total_value from category_summary order by category")
        assert cursor.fetchone() == ("A", 2, Decimal("2000.01"))


def test_the_stage_tells_of_every_model_and_test(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    create_processed_tables(database_url, SCHEMA)
    calls: list[tuple[int, int | None]] = []
    result = transform(database_url, SCHEMA, tmp_path, PARAMETERS, lambda done, total: calls.append((done, total)))
    models = {model["name"]: model for model in result.details["models"]}
    tests = result.details["tests"]
    assert len(models) == 8
    assert models["item_metrics"]["rows"] == 5
    assert models["stg_pipeline__items"]["rows"] is None
    assert {test["status"] for test in tests} == {"pass"}
    assert {test["kind"] for test in tests} == {"data", "unit"}
    assert calls[-1] == (len(models) + len(tests),) * 2
    assert capfd.readouterr().out == ""


def test_a_repeated_stage_leaves_the_same_file_and_rows(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    seen = []
    for _ in range(2):
        transform(database_url, SCHEMA, tmp_path, PARAMETERS)
        with in_schema(database_url, SCHEMA) as cursor:
            cursor.execute("select * from item_metrics order by id")
            seen.append(((tmp_path / "marts.json").read_bytes(), cursor.fetchall()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("damage", "named", "rows"),
    [
        ("insert into processed_items select * from processed_items where id = 0", "unique_item_metrics_id", 1),
        ("update processed_items set quantity = null where id < 2", "complete_item_metrics", 2),
        ("update processed_items set value_tier = 'gold'", "accepted_values_item_metrics_value_tier", 1),
        ("update processed_by_day set record_count = 7", "records_are_conserved", 1),
        (
            "insert into processed_by_category select * from processed_by_category",
            "unique_stg_pipeline__by_category",
            4,
        ),
    ],
)
def test_a_broken_row_fails_the_test_that_is_named(
    database_url: str, tmp_path: Path, damage: str, named: str, rows: int
) -> None:
    create_processed_tables(database_url, SCHEMA, then=damage)
    with pytest.raises(ModelTestFailed, match=named) as raised:
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)
    message = str(raised.value)
    assert f"{rows} row" in message
    assert Path(message.partition("its SQL: ")[2].partition(";")[0]).is_file()


def test_a_column_of_another_type_breaks_the_contract(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA, then="alter table processed_items alter value type text")
    with pytest.raises(ModelTestFailed, match=r"model item_metrics failed: .* enforced contract"):
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)


def test_a_missing_processed_table_is_named(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA, then="drop table processed_by_day")
    with pytest.raises(ManifestBroken, match="processed_by_day; run stage 3"):
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)


def test_a_database_that_goes_away_is_a_transient_error(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    with pytest.raises(ServiceUnavailable) as raised:
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS, lambda _done, _total: _close_database(database_url))
    assert raised.value.transient


def test_no_database_is_a_transient_error_that_hides_the_password(tmp_path: Path) -> None:
    url = f"postgresql://postgres:{CANARY}@127.0.0.1:1/postgres"
    with pytest.raises(ServiceUnavailable) as raised:
        build_marts(url, SCHEMA, tmp_path, PARAMETERS)
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize("damage", ["", "update processed_items set quantity = null"])
def test_the_password_is_in_no_file_of_dbt(
    database_url: str, tmp_path: Path, damage: str, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    create_processed_tables(database_url, SCHEMA, then=damage)
    before = dict(os.environ)
    told = ""
    try:
        build_marts(database_url.replace("@", f":{CANARY}@", 1), SCHEMA, tmp_path, PARAMETERS)
    except ModelTestFailed as error:
        told = str(error)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"run_results.json", "manifest.json", "dbt.log"} <= {file.name for file in files}
    assert not [file for file in files if CANARY.encode() in file.read_bytes()]
    assert CANARY not in "".join([told, caplog.text, *capfd.readouterr()])
    assert os.environ == before


def test_dbt_is_refused_while_it_is_at_work_in_the_same_process(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    refused: list[str] = []

    def call_again(_done: int, _total: int | None) -> None:
        try:
            build_marts(database_url, SCHEMA, tmp_path / "second", PARAMETERS)
        except ServiceUnavailable as error:
            refused.append(str(error))

    build_marts(database_url, SCHEMA, tmp_path / "first", PARAMETERS, call_again)
    assert "dbt is at work in this process already" in refused[0]


def test_two_processes_build_two_runs_at_once(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    create_processed_tables(database_url, OTHER, then="update processed_items set name = 'other'")
    program = (
        "import sys; from pathlib import Path; from pipeline_lib.stages.transform import *; "
        "transform(sys.argv[1], sys.argv[2], Path(sys.argv[3]), TransformParameters(dbt_threads=2))"
    )
    builds = [
        subprocess.Popen([sys.executable, "-c", program, database_url, schema, str(tmp_path / schema)])
        for schema in (SCHEMA, OTHER)
    ]
    assert [build.wait(timeout=120) for build in builds] == [0, 0]
    assert mart_counts(database_url, SCHEMA) == mart_counts(database_url, OTHER)
    with in_schema(database_url, OTHER) as cursor:
        cursor.execute("select distinct name from item_metrics")
        assert cursor.fetchall() == [("other",)]


def _close_database(database_url: str) -> None:
    """Let nobody into the database any more and end who is in it, as a server that stops does."""
    name = parse_dsn(database_url)["dbname"]
    connection = psycopg2.connect(database_url, dbname="postgres")
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f'alter database "{name}" allow_connections false')
    cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
    connection.close()
