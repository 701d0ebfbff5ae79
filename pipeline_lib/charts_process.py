"""Figures of stage 3: the percentile curve and the tiers of the processed records.

Each function takes the folder of stage 3, aggregates there, and returns a figure of a few kilobytes, however many
records there are. Money becomes a float only here, where it is drawn.
"""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import plotly.graph_objects as go
import polars as pl

from pipeline_lib.process import LOWEST_TIER, TIERS
from workbench.charts.theme import PALETTE, TEXT, titled
from workbench.data.spark_files import ITEMS, part_files

_STEPS = 100


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
    for tier, colour in zip((*(name for name, _ in TIERS), LOWEST_TIER), cycle(PALETTE), strict=False):
        own = counts.filter(pl.col("value_tier") == tier)
        figure.add_bar(x=own["category"].to_list(), y=own["len"].to_list(), name=tier, marker_color=colour)
    return titled(figure, "Tiers by category", "category", "records")


def _items(folder: Path) -> pl.LazyFrame:
    return pl.scan_parquet(part_files(folder, ITEMS), glob=False)
