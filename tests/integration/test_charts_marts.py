"""The figures of stage 4 hold what the marts hold."""

from __future__ import annotations

from pathlib import Path

from pipeline_lib import charts_marts
from pipeline_lib.parameters import TransformParameters
from pipeline_lib.transform import build_marts
from tests.integration.processed_tables import create_processed_tables

SCHEMA = "run_20261123t083012_a1b2c3"


def test_the_figures_show_what_the_marts_hold_and_stay_small(database_url: str, tmp_path: Path) -> None:
    create_processed_tables(database_url, SCHEMA)
    build = build_marts(database_url, SCHEMA, tmp_path, TransformParameters())
    tiers = charts_marts.pricing_tier_by_category(database_url, SCHEMA)
    stock = charts_marts.records_by_stock_status(database_url, SCHEMA)
    days = charts_marts.totals_by_day(database_url, SCHEMA)
    models, tests = charts_marts.seconds_by_model(build), charts_marts.tests_by_model(build)

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
    assert tests.layout.title.text == f"{len(build.tests)} of {len(build.tests)} dbt tests passed"
    assert max(len(figure.to_json()) for figure in (tiers, stock, days, models, tests)) < 200_000
