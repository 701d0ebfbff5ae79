"""The shape of a record: its fields in the input, in the validated dataset and in the export."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

CATEGORIES = ("A", "B", "C", "D")
REQUIRED_FIELDS = ("id", "name", "category", "value", "quantity")
OPTIONAL_FIELDS = ("is_active", "created_at", "customer")
KNOWN_FIELDS = frozenset({*REQUIRED_FIELDS, *OPTIONAL_FIELDS})
CUSTOMER_PARTS = ("name", "email", "country")

DATASET = "dataset.parquet"
DATASET_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("value", pa.decimal128(12, 2), nullable=False),
        pa.field("quantity", pa.int32(), nullable=False),
        pa.field("is_active", pa.bool_(), nullable=False),
        pa.field("created_at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("customer_name", pa.string()),
        pa.field("customer_email", pa.string()),
        pa.field("customer_country", pa.string()),
        pa.field("extra", pa.string()),
    ]
)

_MOMENT = pa.timestamp("us", "UTC")
_MONEY = pa.decimal128(18, 2)

EXPORTED_FIELDS: Mapping[str, pa.DataType] = {
    "id": pa.int64(),
    "name": pa.string(),
    "category": pa.string(),
    "value": pa.decimal128(12, 2),
    "quantity": pa.int32(),
    "is_active": pa.bool_(),
    "created_at": _MOMENT,
    "customer_name": pa.string(),
    "customer_email": pa.string(),
    "customer_country": pa.string(),
    "total_value": _MONEY,
    "discount_factor": pa.decimal128(3, 2),
    "discounted_value": _MONEY,
    "category_avg_value": _MONEY,
    "value_percentile": pa.float64(),
    "value_tier": pa.string(),
    "pricing_tier": pa.string(),
    "is_high_value": pa.bool_(),
    "stock_status": pa.string(),
    "processed_at": _MOMENT,
    "transformed_at": _MOMENT,
    "extra": pa.string(),
}
"""The exported fields in their order: Arrow types; `extra` is a JSON object as text."""


def as_dataset(frame: pl.DataFrame) -> pa.Table:
    """Turn a frame with `cents` into the dataset's columns, `value` as decimal(12,2)."""
    columns = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    arrays = [
        _decimals(frame["cents"].to_numpy()) if field.name == "value" else columns[field.name].cast(field.type)
        for field in DATASET_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=DATASET_SCHEMA)


def _decimals(cents: np.ndarray) -> pa.Array:
    """Write non-negative cents as 128-bit integers, low half first: the layout of Arrow's decimal128."""
    halves = np.zeros((len(cents), 2), dtype="<i8")
    halves[:, 0] = cents
    return pa.Decimal128Array.from_buffers(pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(halves)])
