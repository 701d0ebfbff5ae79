"""The figures of stage 4 hold what the marts hold."""

from __future__ import annotations

from pathlib import Path

from pipeline_lib import charts_marts
from pipeline_lib.parameters import TransformParameters
from pipeline_lib.transform import build_marts
from pipeline_lib.tryouts import Thresholds, present_thresholds, records_by_rule
from tests.integration.processed_tables import create_processed_tables

SCHEMA = "run_20261123t083012_a1b2c3"


def test_the_figures_show_what_the_marts_hold_and_stay_small(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    build = build_marts(database_url, SCHEMA, tmp_path, TransformParameters())
    tiers = charts_marts.pricing_tier_by_category(database_url, SCHEMA)
    stock = charts_marts.records_by_stock_status(database_url, SCHEMA)
    days = charts_marts.totals_by_day(database_url, SCHEMA)
    models = charts_marts.seconds_by_model(build)

    assert {bar.name: list(bar.y) for bar in tiers.data} == {
        "premium": [0, 0, 100, 0],
        "standard": [50, 100, 0, 0],
        "basic": [50, 0, 0, 100],
    }
    assert dict(zip(stock.data[0].y, stock.data[0].x, strict=True)) == {
        "available": 1,
        "low stock": 2,
        "out of stock": 1,
        "inactive": 1,
    }
    assert list(days.data[0].y) == [6000.0, 6000.02, 0.0]
    assert len(models.data[0].y) == len(build.models) == 8
    assert max(len(figure.to_json()) for figure in (tiers, stock, days, models)) < 200_000


def test_thresholds_that_are_tried_count_by_the_rules_of_the_mart(database_url: str) -> None:
    create_processed_tables(database_url, SCHEMA)
    assert records_by_rule(database_url, SCHEMA, present_thresholds()) == {
        "premium": 1,
        "standard": 2,
        "basic": 2,
        "high value": 1,
        "available": 1,
        "low stock": 2,
        "out of stock": 1,
        "inactive": 1,
    }
    tried = Thresholds(premium_above=10**9, standard_above=0, high_value_above=10**9, low_stock_below=0)
    counts = records_by_rule(database_url, SCHEMA, tried)
    assert (counts["premium"], counts["high value"], counts["low stock"], counts["available"]) == (0, 0, 0, 3)
