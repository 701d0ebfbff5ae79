"""Figures of stages 4 and 5: the records in the marts, and the seconds that dbt spent on each model.

The database counts, a figure draws: it holds some hundred numbers, however many records there are.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import plotly.graph_objects as go
from psycopg2 import sql

from workbench.charts.theme import ACCENT, PALETTE, QUIET, WARNING, horizontal_bars, titled
from workbench.data.dbt_results import Build
from workbench.data.run_schema import connected

_TIERS = dict(zip(("premium", "standard", "basic"), (PALETTE[0], PALETTE[4], QUIET), strict=True))
_STOCK = dict(
    zip(("available", "low_stock", "out_of_stock", "inactive"), (*PALETTE[2:0:-1], WARNING, QUIET), strict=True)
)
_MAX_DAYS = 366

_BY_TIER = "select category, pricing_tier, count(*) from {}.item_metrics group by 1, 2 order by 1, 2"
_BY_STOCK = "select stock_status, count(*) from {}.item_metrics group by 1"
_BY_DAY = "select day, total_value, discounted_value from {}.daily_summary order by day desc limit {}"


def pricing_tier_by_category(database_url: str, schema: str) -> go.Figure:
    """Show the share of the pricing tiers in each category, in percent; hovering shows the number of records."""
    rows = _rows(database_url, schema, _BY_TIER)
    counts = {(category, tier): count for category, tier, count in rows}
    totals = Counter({category: 0 for category, _, _ in rows})
    for category, _, count in rows:
        totals[category] += count
    figure = titled(go.Figure(), "Pricing tier by category", "category", "share of records (%)")
    for tier, colour in _TIERS.items():
        own = [counts.get((category, tier), 0) for category in totals]
        shares = [round(100 * count / totals[category], 2) for category, count in zip(totals, own, strict=True)]
        hover = "%{x}: %{y:.1f} %, %{customdata:,} records"
        figure.add_bar(x=list(totals), y=shares, name=tier, marker_color=colour, customdata=own, hovertemplate=hover)
    figure.update_layout(barmode="stack")
    return figure


def records_by_stock_status(database_url: str, schema: str) -> go.Figure:
    """Show how many records are available, low on stock, out of stock or inactive."""
    counts = dict(_rows(database_url, schema, _BY_STOCK))
    own = [counts.get(status, 0) for status in _STOCK]
    figure = horizontal_bars(go.Figure(), "Stock status", "records")
    names = [status.replace("_", " ") for status in _STOCK]
    figure.add_bar(
        x=own, y=names, orientation="h", marker_color=list(_STOCK.values()), text=[f"{count:,}" for count in own]
    )
    figure.update_yaxes(autorange="reversed")
    return figure


def totals_by_day(database_url: str, schema: str) -> go.Figure:
    """Show the total and discounted value of each day's records (UTC), in currency units, of the newest 366 days."""
    rows = _rows(database_url, schema, _BY_DAY, sql.Literal(_MAX_DAYS))[::-1]
    days = [day.isoformat() for day, _, _ in rows]
    figure = titled(go.Figure(), "Value per day of creation", "day (UTC)", "value (currency units)")
    figure.add_scatter(x=days, y=[float(total) for _, total, _ in rows], name="total", line_color=QUIET)
    figure.add_scatter(x=days, y=[float(value) for _, _, value in rows], name="discounted", line_color=ACCENT)
    figure.update_yaxes(rangemode="tozero")
    return figure


def seconds_by_model(build: Build) -> go.Figure:
    """Show the seconds of each model, slowest first; models are built in parallel, so the sum exceeds the duration."""
    models = sorted(build.models, key=lambda model: model.seconds)
    labels = [f"{model.rows:,} rows" if model.rows is not None else "view" for model in models]
    names = [model.name for model in models]
    figure = horizontal_bars(go.Figure(), "Seconds per dbt model", "seconds")
    figure.add_bar(x=[model.seconds for model in models], y=names, orientation="h", marker_color=ACCENT, text=labels)
    figure.update_layout(margin_l=190)
    return figure


def _rows(database_url: str, schema: str, query: str, *values: sql.Composable) -> list[tuple[Any, ...]]:
    with connected(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL(query).format(sql.Identifier(schema), *values))
        return list(cursor.fetchall())
