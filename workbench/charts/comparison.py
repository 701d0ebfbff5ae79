"""Figures of two runs side by side, from the document of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from workbench.charts.theme import ACCENT, PALETTE, QUIET, TEXT, lying_bars, noted

_SIZES = {"none": QUIET, "small": PALETTE[4], "medium": PALETTE[1], "large": PALETTE[5]}
_BAR = 26
_MARGIN = 170


def shifts_by_column(rows: Rows) -> go.Figure:
    """Show how far each column moved: each effect as a multiple of the least that is called large."""
    shown = [*rows][::-1]
    figure = go.Figure()
    for size, colour in _SIZES.items():
        own = [row for row in shown if row["size"] == size]
        names = [f"{row['column']}, {row['measure']}" for row in own]
        words = [f"{row['value']:.3f}: {row['a']} → {row['b']}" for row in own]
        figure.add_bar(
            x=[row["strength"] for row in own],
            y=names,
            name=size,
            orientation="h",
            marker_color=colour,
            hovertext=words,
        )
    order = [f"{row['column']}, {row['measure']}" for row in shown]
    figure.add_vline(1, line_dash="dot", line_color=TEXT, annotation_text="large")
    figure.update_yaxes(categoryorder="array", categoryarray=order)
    figure = lying_bars(figure, "How far each column moved", "effect size (1 = large)")
    figure.update_layout(height=_MARGIN + _BAR * max(len(shown), 4))
    return figure if rows else noted(figure, "at least one of the runs has no processed records")


def side_by_side(rows: Rows, title: str, unit: str, most: int = 15) -> go.Figure:
    """Show a and b of the rows that differ most, e.g. seconds per stage, cell or model, or rejects by reason."""
    ranked = sorted(rows, key=lambda row: -abs(row["change"] if row["change"] is not None else _largest(row)))
    shown = [row for row in rows if row in ranked[:most]][::-1]
    figure = go.Figure(layout={"barmode": "group"})
    for run, colour in (("b", ACCENT), ("a", QUIET)):
        own = [row[run] for row in shown]
        figure.add_bar(x=own, y=[row["name"] for row in shown], name=f"run {run}", orientation="h", marker_color=colour)
    figure = lying_bars(figure, title, unit)
    figure.update_layout(height=_MARGIN + 1.6 * _BAR * max(len(shown), 3), legend_traceorder="reversed")
    return figure if shown else noted(figure, "nothing to compare")


def _largest(row: Mapping[str, Any]) -> float:
    return max(float(row["a"] or 0), float(row["b"] or 0))
