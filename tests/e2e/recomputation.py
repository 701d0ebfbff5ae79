"""Computes every derived field anew, in plain Python with decimals, straight from the generated file.

Neither Spark nor PostgreSQL nor the library's stage code has a part in it: the rules are written down a second time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

FACTORS = {"A": Decimal("0.90"), "B": Decimal("0.85"), "C": Decimal("0.80"), "D": Decimal("0.95")}
CENT = Decimal("0.01")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines with decimals kept as they are written."""
    return [json.loads(line, parse_float=Decimal) for line in path.read_text().splitlines()]


def recomputed(records: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the derived fields of each record by its id."""
    values: dict[str, list[Decimal]] = defaultdict(list)
    totals: dict[str, list[Decimal]] = defaultdict(list)
    for record in records:
        values[record["category"]].append(Decimal(record["value"]))
        totals[record["category"]].append(Decimal(record["value"]) * record["quantity"])
    averages = {category: half_up(sum(each, Decimal(0)) / len(each)) for category, each in totals.items()}
    ranks = {category: percent_ranks(each) for category, each in values.items()}
    return {record["id"]: derived(record, ranks, averages) for record in records}


def half_up(number: Decimal) -> Decimal:
    """Round to cents, half away from zero."""
    return number.quantize(CENT, ROUND_HALF_UP)


def percent_ranks(values: list[Decimal]) -> dict[Decimal, float]:
    """Return (rank - 1) / (rows - 1) of each value; ties share the lowest rank, a single row has 0."""
    ordered = sorted(values)
    first: dict[Decimal, int] = {}
    for position, value in enumerate(ordered):
        first.setdefault(value, position)
    return {value: position / max(len(ordered) - 1, 1) for value, position in first.items()}


def derived(
    record: dict[str, Any], ranks: dict[str, dict[Decimal, float]], averages: dict[str, Decimal]
) -> dict[str, Any]:
    """Return one record's derived fields."""
    value, category = Decimal(record["value"]), record["category"]
    total, percentile = value * record["quantity"], ranks[category][value]
    return {
        "total_value": total,
        "discount_factor": FACTORS[category],
        "discounted_value": half_up(total * FACTORS[category]),
        "category_avg_value": averages[category],
        "value_percentile": percentile,
        "value_tier": tier(percentile),
        "pricing_tier": "premium" if total > 5000 else "standard" if total > 1000 else "basic",
        "is_high_value": total > 5000,
        "stock_status": stock(record),
    }


def tier(percentile: float) -> str:
    """Return the value tier of a percent rank."""
    for border, name in ((0.9, "premium"), (0.7, "high"), (0.4, "medium")):
        if percentile > border:
            return name
    return "standard"


def stock(record: dict[str, Any]) -> str:
    """Return the stock status of a record."""
    if not record["is_active"]:
        return "inactive"
    if record["quantity"] == 0:
        return "out_of_stock"
    return "low_stock" if record["quantity"] < 10 else "available"
