"""A mart item_metrics made by hand, with the columns of stage 4, for the tests of stage 5."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg2

MOMENT = datetime(2026, 11, 23, 8, 30, 12, tzinfo=UTC)
COLUMNS = """
    id bigint, name text, category text, value numeric(12, 2), quantity integer, is_active boolean,
    created_at timestamptz, customer_name text, customer_email text, customer_country text,
    total_value numeric(18, 2), discount_factor numeric(3, 2), discounted_value numeric(18, 2),
    category_avg_value numeric(18, 2), value_percentile double precision, value_tier text, pricing_tier text,
    is_high_value boolean, stock_status text, processed_at timestamptz, transformed_at timestamptz, extra json
"""


def mart_row(id: int, **values: Any) -> dict[str, Any]:
    """Return one row of the mart; `values` say what is special about it."""
    plain = {
        "name": f"product {id}",
        "category": "A",
        "value": Decimal("12.30"),
        "quantity": 7,
        "is_active": True,
        "created_at": datetime(2026, 11, 1, 12, 0, 0, 5, tzinfo=UTC),
        "customer_name": None,
        "customer_email": None,
        "customer_country": None,
        "total_value": Decimal("86.10"),
        "discount_factor": Decimal("0.90"),
        "discounted_value": Decimal("77.49"),
        "category_avg_value": Decimal("99999999990000.00"),
        "value_percentile": 1 / 3,
        "value_tier": "standard",
        "pricing_tier": "basic",
        "is_high_value": False,
        "stock_status": "low_stock",
        "processed_at": MOMENT,
        "transformed_at": MOMENT,
        "extra": None,
    }
    return {"id": id, **plain, **values}


def create_mart(database_url: str, schema: str, rows: Sequence[dict[str, Any]]) -> None:
    """Create `schema`.item_metrics with these rows, in the order given."""
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f'create schema "{schema}"; create table "{schema}".item_metrics ({COLUMNS})')
        for row in rows:
            extra = None if row["extra"] is None else json.dumps(row["extra"])
            cursor.execute(
                f'insert into "{schema}".item_metrics values ({", ".join(["%s"] * len(row))})',
                [*list(row.values())[:-1], extra],
            )
