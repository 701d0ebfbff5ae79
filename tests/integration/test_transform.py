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
from psycopg2.extensions import parse_dsn
from sqlalchemy import NullPool, create_engine

from pipeline_lib.parameters import TransformParameters
from pipeline_lib.record import EXPORTED_FIELDS
from pipeline_lib.transform import build_marts, mart_counts, stage_result
from tests.integration.processed_tables import create_processed_tables, in_schema
from workbench.base.errors import ManifestBroken, ModelTestFailed, ServiceUnavailable
from workbench.data.dbt_runner import NODES
from workbench.data.publication import publish, published_runs
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress, silent

SCHEMA = "run_20261123t083012_a1b2c3"
OTHER = "run_20261123t083012_d4e5f6"
PARAMETERS = TransformParameters(dbt_threads=2, reference_time="2026-11-23T10:00:00+02:00")
CANARY = "canary-0b8e1f"


def transformed(database_url: str, folder: Path, progress: Progress = silent) -> StageResult:
    """Take the steps of the notebook."""
    build = build_marts(database_url, SCHEMA, folder, PARAMETERS, progress)
    return stage_result(build, mart_counts(database_url, SCHEMA), folder)


def test_marts_hold_what_the_rules_say(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    assert transformed(database_url, tmp_path).counts == {"transformed": 5}
    moment = datetime(2026, 11, 23, 8, tzinfo=UTC)
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
        average = Decimal("1000.01")
        assert cursor.fetchall() == [(average, moment, {}), (average, moment, {"colour": "red"})]
        cursor.execute("select country, record_count from country_summary order by country")
        assert cursor.fetchall() == [("GB", 1), ("SE", 2), ("unknown", 2)]
        cursor.execute("select day, record_count from daily_summary order by day")
        assert cursor.fetchall() == [(date(2026, 11, 20), 2), (date(2026, 11, 21), 2), (date(2026, 11, 22), 1)]
        cursor.execute("select category, record_count, total_value from category_summary order by category")
        assert cursor.fetchone() == ("A", 2, Decimal("2000.01"))


def test_item_metrics_has_exactly_the_exported_fields_in_their_order(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)
    with in_schema(database_url, SCHEMA) as cursor:
        cursor.execute("select * from item_metrics limit 0")
        assert tuple(column.name for column in cursor.description or ()) == tuple(EXPORTED_FIELDS)


def test_the_stage_tells_of_every_model_and_test(
    database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    create_processed_tables(database_url, SCHEMA)
    calls: list[tuple[int, int | None, str]] = []
    result = transformed(database_url, tmp_path, lambda *call: calls.append(call))
    models = {model["name"]: model for model in result.details["models"]}
    tests = result.details["tests"]
    assert len(models) == 8
    assert models["item_metrics"]["rows"] == 5
    assert models["stg_pipeline__items"]["rows"] is None
    assert {test["status"] for test in tests} == {"pass"}
    assert {test["kind"] for test in tests} == {"data", "unit"}
    assert calls[-1] == (len(models) + len(tests), len(models) + len(tests), NODES)
    assert capfd.readouterr().out == ""


def test_a_repeated_stage_leaves_the_same_file_and_rows_and_readers_their_views(
    database_url: str, tmp_path: Path
) -> None:
    create_processed_tables(database_url, SCHEMA)
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(database_url), poolclass=NullPool)
    seen = []
    for _ in range(2):
        transformed(database_url, tmp_path)
        with engine.begin() as connection:
            if not published_runs(connection):
                publish(connection, "analytics", SCHEMA.removeprefix("run_"), datetime(2026, 11, 23, tzinfo=UTC))
        with in_schema(database_url, SCHEMA) as cursor:
            cursor.execute("select * from item_metrics order by id")
            built = cursor.fetchall()
            cursor.execute("select * from analytics.item_metrics order by id")
            seen.append(((tmp_path / "marts.json").read_bytes(), built, cursor.fetchall()))
    assert seen[0] == seen[1]
    assert seen[0][1] == seen[0][2]


def test_a_broken_row_fails_the_test_that_is_named_with_its_rows_and_its_sql(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA, then="update processed_items set quantity = null where id < 2")
    with pytest.raises(ModelTestFailed) as raised:
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)
    told, _, where = str(raised.value).partition("; its SQL: ")
    assert told == "dbt test complete_item_metrics of model item_metrics failed: 2 rows fail it"
    assert Path(where).is_file()


def test_every_test_that_fails_is_named(database_url: str, tmp_path: Path) -> None:
    damage = """
        update processed_items set value_tier = 'gold' where id = 1;
        insert into processed_items select * from processed_items where id = 0;
        update processed_by_day set record_count = 7
    """
    create_processed_tables(database_url, SCHEMA, then=damage)
    with pytest.raises(ModelTestFailed) as raised:
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)
    for named in ("unique_item_metrics_id", "accepted_values_item_metrics_value_tier", "records_are_conserved"):
        assert named in str(raised.value)


def test_a_column_of_another_type_breaks_the_contract(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA, then="alter table processed_items alter value type text")
    with pytest.raises(ModelTestFailed, match=r"model item_metrics failed: .* enforced contract"):
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)


def test_a_missing_processed_table_is_named(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA, then="drop table processed_by_day")
    with pytest.raises(ManifestBroken, match="processed_by_day; run stage 3"):
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS)


@pytest.mark.parametrize("in_dbt", [False, True])
def test_a_database_that_goes_away_is_a_transient_error(database_url: str, tmp_path: Path, in_dbt: bool) -> None:
    create_processed_tables(database_url, SCHEMA)

    def go_away(_done: int, total: int | None, _unit: str) -> None:
        if (total is not None) is in_dbt:
            _close_database(database_url)

    with pytest.raises(ServiceUnavailable) as raised:
        build_marts(database_url, SCHEMA, tmp_path, PARAMETERS, go_away)
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

    def call_again(_done: int, total: int | None, _unit: str) -> None:
        if total is None:
            return  # dbt has not begun
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
        "import sys; from pathlib import Path; from pipeline_lib.transform import *; "
        "build_marts(sys.argv[1], sys.argv[2], Path(sys.argv[3]), TransformParameters(dbt_threads=2))"
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
