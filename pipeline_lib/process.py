"""Stage 3, the logic: totals, discounts, percentiles and tiers of every record, and three aggregates, by Spark.

    dataset.parquet -> processed/items/part-00000.parquet …   one row per record
                       processed/by_category|by_country|by_day/part-00000.parquet

Every function takes and returns Spark data frames, so that a notebook can show each step. Money is decimal from end
to end; an overflow raises (ANSI mode) instead of turning into null. No view or table is ever registered, so that runs
sharing one Spark server cannot clash.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pyspark.sql.connect import functions as F
from pyspark.sql.connect.window import Window
from pyspark.sql.types import DecimalType

from workbench.base.errors import ConservationBroken, InvalidParameter
from workbench.data.spark_files import ITEMS, PROCESSED, limit_retries, spark_errors_translated, watched, write_tables
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress, silent

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.connect.session import SparkSession

DISCOUNT_FACTORS: Mapping[str, str] = {"A": "0.90", "B": "0.85", "C": "0.80", "D": "0.95"}
TIERS: tuple[tuple[str, float], ...] = (("premium", 0.9), ("high", 0.7), ("medium", 0.4))
LOWEST_TIER = "standard"

RECORDS_PER_PART = 250_000
_LEAST_SHUFFLE = 8
_PATTERN = re.compile(r"[{}\[\]*?\\]")  # Spark takes a path with one of these for a pattern
_MONEY = DecimalType(18, 2)
_PRICE = DecimalType(12, 2)
_FACTOR = DecimalType(3, 2)
_SUM = DecimalType(28, 2)
_WIDE = DecimalType(12, 0)
_SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
}


def read_dataset(spark: SparkSession, path: Path, partitions: int = 0) -> DataFrame:
    """Open the validated dataset of stage 2, with the session set to UTC and to exact arithmetic.

    `path` must be the same file for Spark as for this process: with a cluster, on storage that both see.
    """
    parts = partitions_for(pq.read_metadata(path).num_rows, partitions)
    limit_retries(spark)
    with spark_errors_translated(path):
        for name, value in {**_SESSION, "spark.sql.shuffle.partitions": str(max(parts, _LEAST_SHUFFLE))}.items():
            spark.conf.set(name, value)
        return spark.read.parquet(_PATTERN.sub(r"\\\g<0>", str(path.resolve())))


def partitions_for(rows: int, asked: int) -> int:
    """Return how many parts the result gets: `asked`, or for 0 one per started 250,000 records."""
    return asked or max(1, -(-rows // RECORDS_PER_PART))


def with_totals(items: DataFrame) -> DataFrame:
    """Add total_value = value * quantity, discount_factor, and discounted_value rounded half-up to 2 decimals."""
    total = F.col("value") * F.col("quantity")
    discounted = F.round(F.col("total_value") * F.col("discount_factor"), 2)
    return (
        items.withColumn("total_value", total.cast(_MONEY))
        .withColumn("discount_factor", _by_category(DISCOUNT_FACTORS).cast(_FACTOR))
        .withColumn("discounted_value", discounted.cast(_MONEY))
    )


def _by_category(values: Mapping[str, str]) -> Column:
    """Return the value of the row's category; null for any other, which a loaded table refuses."""
    first, *others = values.items()
    chosen = F.when(F.col("category") == first[0], F.lit(first[1]))
    for category, value in others:
        chosen = chosen.when(F.col("category") == category, F.lit(value))
    return chosen


def with_percentiles(items: DataFrame) -> DataFrame:
    """Add value_percentile: percent rank of `value` within the category, 0.0 to 1.0; 0.0 where there is one record.

    (rank - 1) / (records - 1), equal values sharing the lowest rank, as in SQL's percent_rank. The window has one
    task for each of the four categories; what does not fit into memory is sorted on disk.
    """
    return items.withColumn("value_percentile", F.percent_rank().over(Window.partitionBy("category").orderBy("value")))


def with_tiers(items: DataFrame) -> DataFrame:
    """Add value_tier: premium above 0.9 of the percentile, high above 0.7, medium above 0.4, else standard."""
    (name, border), *others = TIERS
    tier = F.when(F.col("value_percentile") > border, F.lit(name))
    for name, border in others:
        tier = tier.when(F.col("value_percentile") > border, F.lit(name))
    return items.withColumn("value_tier", tier.otherwise(F.lit(LOWEST_TIER)))


def with_processing_time(items: DataFrame, reference_time: str) -> DataFrame:
    """Add processed_at: the run's reference time and not the clock, so that a repeated stage leaves the same bytes."""
    if not reference_time:
        raise InvalidParameter("reference_time", "must be fixed before records are processed")
    return items.withColumn("processed_at", F.lit(datetime.fromisoformat(reference_time)))


def totals_by_category(items: DataFrame) -> DataFrame:
    """Return per category: record_count, average (half-up), minimum and maximum of value, and the two totals."""
    average = F.round(F.sum("value").cast(_SUM) / F.count("*").cast(_WIDE), 2)
    return items.groupBy("category").agg(
        F.count("*").alias("record_count"),
        average.cast(_PRICE).alias("value_average"),
        F.min("value").alias("value_minimum"),
        F.max("value").alias("value_maximum"),
        *_totals(),
    )


def totals_by_country(items: DataFrame) -> DataFrame:
    """Return per customer country: record_count and the two totals; records without a country are one null group."""
    country = F.col("customer_country").alias("country")
    return items.groupBy(country).agg(F.count("*").alias("record_count"), *_totals())


def totals_by_day(items: DataFrame) -> DataFrame:
    """Return per day (UTC) of creation: record_count and the two totals."""
    day = F.to_date("created_at").alias("day")
    return items.groupBy(day).agg(F.count("*").alias("record_count"), *_totals())


def _totals() -> tuple[Column, Column]:
    return (
        F.sum("total_value").cast(_SUM).alias("total_value"),
        F.sum("discounted_value").cast(_SUM).alias("discounted_value"),
    )


def write_processed(
    items: DataFrame, dataset: Path, folder: Path, partitions: int = 0, progress: Progress = silent
) -> StageResult:
    """Write the items and their aggregates below `folder`/processed. Counts: processed.

    Records go to parts by the hash of their id and are sorted by id within, so that neither the number of cores nor
    the order of tasks changes a byte. Raises `ConservationBroken` when their number differs from that of `dataset`.
    """
    rows = pq.read_metadata(dataset).num_rows
    parts = partitions_for(rows, partitions)
    tables = {
        ITEMS: items.repartition(parts, "id").sortWithinPartitions("id"),
        "by_category": _single(totals_by_category(items), "category"),
        "by_country": _single(totals_by_country(items), "country"),
        "by_day": _single(totals_by_day(items), "day"),
    }
    with watched(items.sparkSession, rows, progress):
        files = write_tables(tables, folder)
    processed = sum(count for path, count in files.items() if path.startswith(f"{PROCESSED}/{ITEMS}/"))
    if processed != rows:
        raise ConservationBroken(f"{dataset} holds {rows:,} records, but {processed:,} were processed")
    return StageResult(counts={"processed": processed}, files=files, details={"partitions": parts})


def _single(aggregate: DataFrame, key: str) -> DataFrame:
    return aggregate.coalesce(1).sortWithinPartitions(key)
