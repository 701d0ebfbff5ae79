"""Small validated datasets for the tests of stages 3 and 5, in the shape that stage 2 leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.process import read_dataset, with_percentiles, with_processing_time, with_tiers, with_totals

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("category", pa.string()),
        ("value", pa.decimal128(12, 2)),
        ("quantity", pa.int32()),
        ("is_active", pa.bool_()),
        ("created_at", pa.timestamp("us", "UTC")),
        ("customer_name", pa.string()),
        ("customer_email", pa.string()),
        ("customer_country", pa.string()),
        ("extra", pa.string()),
    ]
)
REFERENCE_TIME = "2026-11-23T08:30:12+00:00"
HOSTILE = (
    "quote \" and ' apostrophe",
    "line\nfeed, carriage\rreturn, tab\there",
    "back\\slash \\N \\. \\\\x41",
    "\\N",
    "ünïcödé 漢字 🚀 \u202e \u2028 \x01 \x7f",
    'comma, {"json": [1]} ${var} %s {0} \'; drop table x; --',
    "=1+1",
    "@SUM(A1)",
    "-2+3",
    "+cmd|' /C calc'!A0",
    "",
)


def row(id: int, **values: Any) -> dict[str, Any]:
    """Return one valid record; `values` say what is special about it."""
    plain = {
        "name": f"product {id}",
        "category": "A",
        "value": Decimal("10.00"),
        "quantity": 1,
        "is_active": True,
        "created_at": datetime(2026, 11, 1, tzinfo=UTC),
        "customer_name": None,
        "customer_email": None,
        "customer_country": None,
        "extra": None,
    }
    return {"id": id, **plain, **values}


def written(rows: list[dict[str, Any]], path: Path) -> Path:
    """Write the rows as a dataset and return its path."""
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return path


def processed_items(spark: SparkSession, dataset: Path, partitions: int = 0) -> DataFrame:
    """Take the steps of the notebook of stage 3."""
    items = with_tiers(with_percentiles(with_totals(read_dataset(spark, dataset, partitions))))
    return with_processing_time(items, REFERENCE_TIME)
