"""Figures of stages 3 and 5: percentile curve, tiers, prices and totals of the processed records.

Each function takes the folder of stage 3, aggregates there, and returns a figure of a few kilobytes, however many
records there are. Money becomes a float only here, where it is drawn.
"""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import polars as pl

from pipeline_lib.process import LOWEST_TIER, TIERS
from workbench.charts.theme import ACCENT, PALETTE, TEXT, as_label, titled
from workbench.data.spark_files import ITEMS, part_files

_STEPS = 100
_NO_COUNTRY = "unknown"


def percentile_curve(folder: Path) -> go.Figure:
    """Show which value a record must exceed to stand above a share of its category; dotted lines are tier borders."""
    step = (pl.col("value_percentile") * _STEPS).floor() / _STEPS
    curve = (
        _items(folder)
        .group_by("category", step.alias("share"))
        .agg(pl.col("value").min().cast(pl.Float64))
        .sort("category", "share")
        .collect()
    )
    figure = go.Figure()
    for (category,), own in curve.group_by("category", maintain_order=True):
        figure.add_scatter(x=own["share"].to_list(), y=own["value"].to_list(), name=str(category), mode="lines")
    for tier, border in TIERS:
        figure.add_vline(border, line_dash="dot", line_color=TEXT, annotation_text=tier, annotation_position="top left")
    figure.update_xaxes(tickformat=".0%")
    return titled(figure, "Value by percentile", "percentile within the category", "value (currency units)")


def tiers_by_category(folder: Path) -> go.Figure:
    """Show how many records of each category stand in each tier."""
    counts = _items(folder).group_by("category", "value_tier").len().sort("category").collect()
    figure = go.Figure(layout={"barmode": "stack"})
    for tier, colour in zip((*(name for name, _ in TIERS), LOWEST_TIER), PALETTE, strict=False):
        own = counts.filter(pl.col("value_tier") == tier)
        figure.add_bar(x=own["category"].to_list(), y=own["len"].to_list(), name=tier, marker_color=colour)
    return titled(figure, "Tiers by category", "category", "records")


def values_by_category(folder: Path) -> go.Figure:
    """Show average, minimum and maximum of value in each category."""
    rows = _aggregate(folder, "by_category").sort("category")
    average, least, most = (rows[f"value_{name}"].cast(pl.Float64) for name in ("average", "minimum", "maximum"))
    figure = go.Figure()
    figure.add_scatter(
        x=rows["category"].to_list(),
        y=average.to_list(),
        mode="markers+text",
        marker={"color": ACCENT, "size": 12},
        text=[f"  {value:,.2f}" for value in average],
        textposition="middle right",
        cliponaxis=False,
        error_y={"array": (most - average).to_list(), "arrayminus": (average - least).to_list(), "color": TEXT},
    )
    return titled(figure, "Average value, from minimum to maximum", "category", "value (currency units)")


def daily_totals(folder: Path) -> go.Figure:
    """Show total and discounted value of the records created on each day (UTC)."""
    rows = _aggregate(folder, "by_day").sort("day")
    figure = go.Figure()
    for column, name in (("total_value", "total"), ("discounted_value", "discounted")):
        figure.add_scatter(x=rows["day"].to_list(), y=rows[column].cast(pl.Float64).to_list(), name=name, mode="lines")
    figure.update_yaxes(rangemode="tozero")
    return titled(figure, "Value by day", "day of creation (UTC)", "value (currency units)")


def totals_by_country(folder: Path, top: int = 10) -> go.Figure:
    """Show the `top` customer countries by total value, the highest first; no country counts as unknown."""
    rows = _aggregate(folder, "by_country").sort("total_value", "country", descending=[True, False]).head(top)
    totals = rows["total_value"].cast(pl.Float64).to_list()
    figure = go.Figure()
    figure.add_bar(
        x=totals,
        y=[as_label(country) for country in rows["country"].fill_null(_NO_COUNTRY)],
        orientation="h",
        marker_color=ACCENT,
        text=[f"{total:,.0f}" for total in totals],
    )
    figure = titled(figure, f"Top {rows.height} countries by value", "total value (currency units)", "country")
    figure.update_xaxes(tickformat=",~f")
    figure.update_yaxes(autorange="reversed", tickformat=None, type="category")
    return figure


def _items(folder: Path) -> pl.LazyFrame:
    return pl.scan_parquet(part_files(folder, ITEMS), glob=False)


def _aggregate(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(part_files(folder, name), glob=False)
