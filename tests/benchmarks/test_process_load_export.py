"""What stages 3 and 5 cost: seconds and memory for RECORDS records (default 200,000). Asserts no time."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline_lib.export import export
from pipeline_lib.load import load_processed
from pipeline_lib.process import write_processed
from tests.integration.dataset_rows import SCHEMA, processed_items
from workbench.data.output_formats import Output
from workbench.stage.artefacts import schema_of

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

RECORDS = int(os.environ.get("RECORDS", "200000"))
RUN = "20261123t083012_a1b2c3"
OUTPUTS = (("json", "none"), ("json", "gzip"), ("jsonl", "zstd"), ("csv", "none"), ("parquet", "zstd"))
MART = """
    create table {0}.item_metrics as
    select id, name, category, value, quantity, is_active, created_at, customer_name, customer_email, customer_country,
        total_value, discount_factor, discounted_value, total_value as category_avg_value, value_percentile, value_tier,
        value_tier as pricing_tier, is_active as is_high_value, name as stock_status, processed_at,
        processed_at as transformed_at, extra
    from {0}.processed_items
"""


@contextmanager
def timed(what: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{what:<24}{time.perf_counter() - start:7.2f} s   {peak:6,} MB at the most so far")


def dataset(path: Path) -> Path:
    random = np.random.default_rng(1)
    ids = np.arange(RECORDS)
    cents = pa.array(random.integers(1_000, 100_001, RECORDS)).cast(pa.decimal128(19, 0))
    columns = [
        ids,
        np.char.add("product ", (ids % 2000).astype(str)),
        np.array(list("ABCD"))[random.integers(0, 4, RECORDS)],
        pc.multiply(cents, pa.scalar(Decimal("0.01"))).cast(pa.decimal128(12, 2)),
        random.integers(0, 101, RECORDS).astype("int32"),
        random.random(RECORDS) < 0.8,
        pa.array(1_790_000_000_000_000 + random.integers(0, 30 * 86_400 * 10**6, RECORDS)).cast(SCHEMA.types[6]),
        np.char.add("person ", (ids % 5000).astype(str)),
        np.char.add(np.char.add("person", (ids % 5000).astype(str)), "@example.org"),
        np.array(["DE", "FR", "US"])[random.integers(0, 3, RECORDS)],
        pa.array(['{"k": 1}' if i % 10 == 0 else None for i in range(RECORDS)]),
    ]
    pq.write_table(pa.table(columns, SCHEMA), path)
    return path


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_what_processing_loading_and_exporting_cost(spark: SparkSession, database_url: str, tmp_path: Path) -> None:
    source, schema = dataset(tmp_path / "dataset.parquet"), schema_of(RUN)
    print(f"\n{RECORDS:,} records")
    for temperature in ("cold", "warm"):
        with timed(f"process, {temperature}"):
            write_processed(processed_items(spark, source), source, tmp_path)
    with timed("load"):
        load_processed(database_url, schema, tmp_path)
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(MART.format(schema))
    for file_format, compression in OUTPUTS:
        with timed(f"export, {file_format}, {compression}"):
            result = export(database_url, Output(RUN, datetime.now(UTC), file_format, compression), tmp_path)
        assert result.counts["exported"] == RECORDS
