"""The tables that stage 3 leaves in a run's schema: columns in the order of the Parquet files, and keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """`columns` is the SQL of their definitions; `key` the primary key, empty where a key column may be null."""

    columns: str
    key: str


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


def loader_name(schema: str) -> str:
    """Return the name by which a run's loaders are known to the database (application_name, 63 bytes at most)."""
    return f"workbench load {schema}"[:63]
