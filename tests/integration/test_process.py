"""Stage 3 on a real Spark Connect server: the rules at their borders, and the same bytes every time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from pipeline_lib.process import read_dataset, with_processing_time, write_processed
from tests.integration.dataset_rows import HOSTILE, processed_items, row, written
from workbench.base.errors import ConservationBroken, InvalidParameter, ServiceUnavailable
from workbench.stage.artefacts import StageResult, sha256_of

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

Rows = list[dict[str, Any]]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """A folder whose name Polars and Spark would take for a pattern."""
    folder = tmp_path / "of [a-c]{d,e}*?\\n#%41"
    folder.mkdir()
    return folder


def processed(spark: SparkSession, tmp_path: Path, rows: Rows, partitions: int = 0) -> StageResult:
    dataset = written(rows, tmp_path / "dataset.parquet")
    return write_processed(processed_items(spark, dataset, partitions), dataset, tmp_path / "stage", partitions)


def table(tmp_path: Path, name: str) -> Rows:
    rows: Rows = pq.read_table(tmp_path / "stage" / "processed" / name).to_pylist()
    return rows


def items(tmp_path: Path) -> dict[int, dict[str, Any]]:
    return {item["id"]: item for item in table(tmp_path, "items")}


def test_totals_and_discounts_are_rounded_half_up_at_the_third_decimal(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        row(0, category="A", value=Decimal("0.05")),
        row(1, category="B", value=Decimal("0.10")),
        row(2, category="C", value=Decimal("0.03")),
        row(3, category="D", value=Decimal("0.10")),
        row(4, category="B", value=Decimal("10.01"), quantity=3),
        row(5, category="D", value=Decimal("99999999.99"), quantity=1_000_000),
        row(6, category="D", value=Decimal("123.45"), quantity=0),
    ]
    processed(spark, tmp_path, rows)
    found = {
        id: (str(i["total_value"]), str(i["discount_factor"]), str(i["discounted_value"]))
        for id, i in items(tmp_path).items()
    }
    assert found == {
        0: ("0.05", "0.90", "0.05"),  # 0.0450
        1: ("0.10", "0.85", "0.09"),  # 0.0850
        2: ("0.03", "0.80", "0.02"),  # 0.0240
        3: ("0.10", "0.95", "0.10"),  # 0.0950
        4: ("30.03", "0.85", "25.53"),  # 25.5255
        5: ("99999999990000.00", "0.95", "94999999990500.00"),
        6: ("0.00", "0.95", "0.00"),
    }


def test_a_tier_begins_above_its_border_and_not_at_it(spark: SparkSession, tmp_path: Path) -> None:
    rows = [row(i, value=Decimal(i)) for i in range(11)]
    processed(spark, tmp_path, rows)
    found = [(i["value_percentile"], i["value_tier"]) for _, i in sorted(items(tmp_path).items())]
    tiers = ["standard"] * 5 + ["medium"] * 3 + ["high"] * 2 + ["premium"]
    assert found == [(i / 10, tier) for i, tier in enumerate(tiers)]


def test_equal_values_share_the_lowest_rank(spark: SparkSession, tmp_path: Path) -> None:
    processed(spark, tmp_path, [row(i, value=Decimal(v)) for i, v in enumerate([5, 7, 7, 7, 9])])
    assert [i["value_percentile"] for _, i in sorted(items(tmp_path).items())] == [0.0, 0.25, 0.25, 0.25, 1.0]


def test_the_only_record_of_a_category_has_percentile_zero(spark: SparkSession, tmp_path: Path) -> None:
    processed(spark, tmp_path, [row(0, category="D"), row(1), row(2, value=Decimal("11"))])
    found = items(tmp_path)[0]
    assert (found["value_percentile"], found["value_tier"]) == (0.0, "standard")


def test_aggregates_are_exact_by_category_country_and_day(spark: SparkSession, tmp_path: Path) -> None:
    late = datetime(2026, 11, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    rows = [
        row(0, value=Decimal("0.01"), quantity=3, customer_country="DE", created_at=late),
        row(1, value=Decimal("0.02"), customer_country="DE", created_at=datetime(2026, 11, 2, tzinfo=UTC)),
        row(2, category="B", value=Decimal("9.99"), created_at=late),
    ]
    processed(spark, tmp_path, rows)
    assert table(tmp_path, "by_category") == [
        {"category": "A", "record_count": 2, "value_average": Decimal("0.02"), "value_minimum": Decimal("0.01"),
         "value_maximum": Decimal("0.02"), "total_value": Decimal("0.05"), "discounted_value": Decimal("0.05")},
        {"category": "B", "record_count": 1, "value_average": Decimal("9.99"), "value_minimum": Decimal("9.99"),
         "value_maximum": Decimal("9.99"), "total_value": Decimal("9.99"), "discounted_value": Decimal("8.49")},
    ]  # fmt: skip
    assert [(r["country"], r["record_count"], r["total_value"]) for r in table(tmp_path, "by_country")] == [
        (None, 1, Decimal("9.99")),
        ("DE", 2, Decimal("0.05")),
    ]
    assert [(r["day"], r["record_count"]) for r in table(tmp_path, "by_day")] == [
        (date(2026, 11, 1), 2),
        (date(2026, 11, 2), 1),
    ]


def test_an_average_is_rounded_once(spark: SparkSession, tmp_path: Path) -> None:
    """5,050 cents over 10,101 records are 0.0049995 a record: 0.00, but 0.01 if first rounded to 6 decimals."""
    rows = [row(i, value=Decimal("0.01") if i < 5050 else Decimal("0.00")) for i in range(10_101)]
    processed(spark, tmp_path, rows)
    assert table(tmp_path, "by_category")[0]["value_average"] == Decimal("0.00")


def test_running_again_leaves_the_same_files_with_the_same_bytes(spark: SparkSession, tmp_path: Path) -> None:
    rows = [row(i * 7919 % 5000, category="ABCD"[i % 4], value=Decimal(i % 97)) for i in range(5000)]
    first = processed(spark, tmp_path, rows, partitions=3)
    before = {path: sha256_of(tmp_path / "stage" / path) for path in first.files}
    again = processed(spark, tmp_path, rows, partitions=3)
    assert {path: sha256_of(tmp_path / "stage" / path) for path in again.files} == before
    assert [path for path in before if "/items/" in path] == [f"processed/items/part-0000{n}.parquet" for n in range(3)]
    assert sorted(path.name for path in (tmp_path / "stage").iterdir()) == ["processed"]


def test_what_a_killed_attempt_left_is_removed(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "stage" / ".processed.deadbeef" / "items").mkdir(parents=True)
    processed(spark, tmp_path, [row(0)])
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["processed"]


def test_hostile_text_and_far_dates_pass_unchanged(spark: SparkSession, tmp_path: Path) -> None:
    far = [datetime(1, 1, 1, tzinfo=UTC), datetime(1582, 10, 10, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
    rows = [
        row(i, name=text, customer_name=text, extra='{"k": "\\u00e9\\\\N \\n"}', created_at=far[i % 3])
        for i, text in enumerate(HOSTILE)
    ]
    processed(spark, tmp_path, rows)
    found = items(tmp_path)
    assert [{name: found[r["id"]][name] for name in r} for r in rows] == rows


def test_processed_at_is_the_reference_time(spark: SparkSession, tmp_path: Path) -> None:
    processed(spark, tmp_path, [row(0)])
    assert items(tmp_path)[0]["processed_at"] == datetime(2026, 11, 23, 8, 30, 12, tzinfo=UTC)


def test_an_open_reference_time_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    dataset = written([row(0)], tmp_path / "dataset.parquet")
    with pytest.raises(InvalidParameter, match="reference_time"):
        with_processing_time(read_dataset(spark, dataset), "")


def test_rows_that_got_lost_are_noticed(spark: SparkSession, tmp_path: Path) -> None:
    dataset = written([row(0), row(1)], tmp_path / "dataset.parquet")
    fewer = processed_items(spark, dataset).where("id > 0")
    with pytest.raises(ConservationBroken, match="holds 2 records, but 1"):
        write_processed(fewer, dataset, tmp_path / "stage")


def test_a_server_that_is_gone_is_one_clear_line(tmp_path: Path) -> None:
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    dataset = written([row(0)], tmp_path / "dataset.parquet")
    lost = ConnectSession.builder.remote("sc://localhost:9").create()
    with (
        pytest.warns(UserWarning, match="RETRIES_EXCEEDED"),
        pytest.raises(ServiceUnavailable, match="does not answer"),
    ):
        read_dataset(lost, dataset)


def test_progress_ends_with_all_records(spark: SparkSession, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    dataset = written([row(i) for i in range(10)], tmp_path / "dataset.parquet")
    items = processed_items(spark, dataset)
    write_processed(items, dataset, tmp_path / "stage", progress=lambda done, total: told.append((done, total)))
    assert (told[0], told[-1]) == ((0, 10), (10, 10))
    assert told == sorted(told)
