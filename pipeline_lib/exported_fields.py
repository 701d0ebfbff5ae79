"""The exported fields: names, order and types, the same in every output format and in the mart item_metrics."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

_MOMENT = pa.timestamp("us", "UTC")
_MONEY = pa.decimal128(18, 2)

FIELDS: Mapping[str, pa.DataType] = {
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
"""Arrow types; `extra` is a JSON object as text."""

DECIMALS: Mapping[str, str] = {
    name: f"numeric({kind.precision}, {kind.scale})" for name, kind in FIELDS.items() if pa.types.is_decimal(kind)
}
"""The SQL types of the decimal fields, by name."""

MOMENTS = tuple(name for name, kind in FIELDS.items() if pa.types.is_timestamp(kind))
TEXTS = tuple(name for name, kind in FIELDS.items() if pa.types.is_string(kind) and name != "extra")
SCHEMA = pa.schema(list(FIELDS.items()))
EXTRA_WHEN_NONE = "{}"
