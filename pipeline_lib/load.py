"""Stage 3, second half: the processed Parquet files as tables of the run's own PostgreSQL schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from workbench.base.errors import ConservationBroken
from workbench.data.spark_files import ITEMS
from workbench.data.table_load import Table, TableLoad, load_tables
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress, silent

TABLES: Mapping[str, Table] = {
    "items": Table(
        """
        id bigint not null, name text not null, category text not null, value numeric(12, 2) not null,
        quantity integer not null, is_active boolean not null, created_at timestamptz not null,
        customer_name text, customer_email text, customer_country text, extra json,
        total_value numeric(18, 2) not null, discount_factor numeric(3, 2) not null,
        discounted_value numeric(18, 2) not null, value_percentile double precision not null,
        value_tier text not null, processed_at timestamptz not null
        """,
        key="id",
    ),
    "by_category": Table(
        """
        category text not null, record_count bigint not null, value_average numeric(12, 2) not null,
        value_minimum numeric(12, 2) not null, value_maximum numeric(12, 2) not null,
        total_value numeric(28, 2) not null, discounted_value numeric(28, 2) not null
        """,
        key="category",
    ),
    "by_country": Table(
        """
        country text, record_count bigint not null,
        total_value numeric(28, 2) not null, discounted_value numeric(28, 2) not null
        """,
        key="",
    ),
    "by_day": Table(
        """
        day date not null, record_count bigint not null,
        total_value numeric(28, 2) not null, discounted_value numeric(28, 2) not null
        """,
        key="day",
    ),
}
"""Columns in the order of the Parquet files."""


def load_processed(database_url: str, schema: str, folder: Path, progress: Progress = silent) -> dict[str, int]:
    """Load `folder`/processed into tables processed_items, processed_by_category … of `schema`; return rows by table.

    Raises what `load_tables` raises.
    """
    return load_tables(TableLoad(database_url, schema, folder, TABLES), progress)


def with_loaded(result: StageResult, rows: Mapping[str, int]) -> StageResult:
    """Return the result of processing, with what was loaded. Raises `ConservationBroken` when they differ."""
    processed, loaded = result.counts["processed"], rows[f"processed_{ITEMS}"]
    if processed != loaded:
        raise ConservationBroken(f"{processed:,} records were processed, but {loaded:,} loaded")
    details = {**result.details, "loaded": dict(rows)}
    return replace(result, counts={**result.counts, "loaded": loaded}, details=details)
