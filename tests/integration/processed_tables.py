"""Tiny processed tables, as stage 3 leaves them, for the tests of stage 4."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

_TABLES = """
create table processed_items (
    id bigint, name text, category text, value numeric(12,2), quantity integer, is_active boolean,
    created_at timestamptz, customer_name text, customer_email text, customer_country text, extra json,
    total_value numeric(18,2), discount_factor numeric(3,2), discounted_value numeric(18,2),
    value_percentile double precision, value_tier text, processed_at timestamptz
);
insert into processed_items values
    (0, 'Lamp', 'A', 100.00, 10, true, '2026-11-20 23:30+00', 'Ada', 'ada@example.org', 'GB', null,
     1000.00, 0.90, 900.00, 0, 'standard', '2026-11-23 08:00+00'),
    (1, 'Desk', 'A', 1000.01, 1, true, '2026-11-21 00:30+00', null, null, null, '{"colour": "red"}',
     1000.01, 0.90, 900.01, 1, 'premium', '2026-11-23 08:00+00'),
    (2, 'Chair', 'B', 500.00, 10, false, '2026-11-21 01:30+02', 'Bo', null, 'SE', null,
     5000.00, 0.85, 4250.00, 0, 'standard', '2026-11-23 08:00+00'),
    (3, 'Sofa', 'C', 5000.01, 1, true, '2026-11-21 12:00+00', 'Cy', 'cy@example.org', 'SE', '{}',
     5000.01, 0.80, 4000.01, 0, 'standard', '2026-11-23 08:00+00'),
    (4, 'Vase', 'D', 30.00, 0, true, '2026-11-22 12:00+00', 'Di', 'di@example.org', 'unknown', null,
     0.00, 0.95, 0.00, 0, 'standard', '2026-11-23 08:00+00');
create table processed_by_category as
    select category, count(*) as record_count, cast(avg(value) as numeric(12,2)) as value_average,
        min(value) as value_minimum, max(value) as value_maximum,
        sum(total_value) as total_value, sum(discounted_value) as discounted_value
    from processed_items group by category;
create table processed_by_country as
    select customer_country as country, count(*) as record_count,
        sum(total_value) as total_value, sum(discounted_value) as discounted_value
    from processed_items group by customer_country;
create table processed_by_day as
    select cast(created_at at time zone 'UTC' as date) as day, count(*) as record_count,
        sum(total_value) as total_value, sum(discounted_value) as discounted_value
    from processed_items group by 1
"""


def create_processed_tables(database_url: str, schema: str, then: str = "") -> None:
    """Create `schema` with five records and their sums, and run the SQL `then` in it."""
    with in_schema(database_url, schema) as cursor:
        cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        cursor.execute(_TABLES)
        if then:
            cursor.execute(then)


@contextmanager
def in_schema(database_url: str, schema: str) -> Iterator[Cursor]:
    """Open a transaction in which unqualified names are those of `schema`."""
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("set search_path to {}").format(sql.Identifier(schema)))
        yield cursor
