"""Figures of many runs, from rows of the view `key_figures`: runs and success rate, stage times, records, errors.

Each takes rows with the newest first, as the view returns them, and draws them from the oldest to the newest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

from workbench.charts.theme import ACCENT, PALETTE, QUIET, TEXT, WARNING, horizontal_bars, titled, with_note
from workbench.stage.pipeline import STAGE_NAMES

Rows = Sequence[Mapping[str, Any]]
_ENDS = {"completed": PALETTE[2], "failed": WARNING, "crashed": PALETTE[3], "cancelled": QUIET}
_FEW = 8  # a whole tick for each
_NO_RUN = "No run has ended yet"
_SIZES = {"none": QUIET, "small": PALETTE[4], "medium": PALETTE[1], "large": PALETTE[5]}
_BAR = 26
_MARGIN = 170


def runs_and_success(rows: Rows) -> go.Figure:
    """Show the runs of each day (UTC) by their final status, and the share of all ended runs so far that completed."""
    ended = [row for row in reversed(rows) if row["finished_at"] is not None]
    days = sorted({_day(row) for row in ended})
    figure = go.Figure(layout={"barmode": "stack", "bargap": 0.5})
    for status, colour in _ENDS.items():
        counts = Counter(_day(row) for row in ended if row["status"] == status)
        if counts:
            figure.add_bar(x=days, y=[counts[day] for day in days], name=status, marker_color=colour)
    rates = {_day(row): float(row["success_rate"]) for row in ended if row["success_rate"] is not None}
    figure.add_scatter(
        x=list(rates),
        y=list(rates.values()),
        name="success rate",
        yaxis="y2",
        line={"color": TEXT},
        mode="lines+markers",
    )
    second = {
        "overlaying": "y",
        "side": "right",
        "range": [0, 1.05],
        "dtick": 0.25,
        "tickformat": ".0%",
        "showgrid": False,
    }
    figure.update_layout(yaxis2=second, xaxis={"type": "category"})
    return _or_note(titled(figure, "Runs and success rate", "day (UTC)", "runs"), ended)


def stage_times(rows: Rows) -> go.Figure:
    """Show the seconds that each run spent in each stage."""
    timed = [row for row in reversed(rows) if row["stage_seconds"]]
    figure = go.Figure(layout={"barmode": "stack"})
    stages = dict.fromkeys([*STAGE_NAMES, *(stage for row in timed for stage in row["stage_seconds"])])
    for stage, colour in zip(stages, cycle(PALETTE), strict=False):
        seconds = [row["stage_seconds"].get(stage) for row in timed]
        figure.add_bar(x=_numbers(timed), y=seconds, name=stage, marker_color=colour, **_named(timed))
    return _or_note(titled(figure, "Stage times", "runs, oldest to newest", "time (s)"), timed)


def records_of_runs(rows: Rows) -> go.Figure:
    """Show how many records each run processed and rejected."""
    read = [row for row in reversed(rows) if row["records_read"]]
    figure = go.Figure(layout={"barmode": "stack"})
    for key, name, colour in (("processed", "processed", ACCENT), ("rejected", "rejected", WARNING)):
        counts = [row[f"records_{key}"] for row in read]
        figure.add_bar(x=_numbers(read), y=counts, name=name, marker_color=colour, **_named(read))
    return _or_note(titled(figure, "Records", "runs, oldest to newest", "records"), read)


def errors_of_runs(rows: Rows) -> go.Figure:
    """Show how many stages of each run failed, and how many attempts were repeated."""
    ended = [row for row in reversed(rows) if row["finished_at"] is not None]
    figure = go.Figure(layout={"barmode": "group"})
    for key, name, colour in (("error_count", "errors", WARNING), ("retries", "retries", PALETTE[1])):
        counts = [int(row[key]) for row in ended]
        figure.add_bar(x=_numbers(ended), y=counts, name=name, marker_color=colour, **_named(ended))
    most = max((int(row[key]) for row in ended for key in ("error_count", "retries")), default=0)
    figure.update_yaxes(rangemode="tozero", dtick=1 if most <= _FEW else None)
    return _or_note(titled(figure, "Errors", "runs, oldest to newest", "stages and attempts"), ended)


def _day(row: Mapping[str, Any]) -> str:
    return f"{row['created_at']:%Y-%m-%d}"


def _numbers(rows: Rows) -> list[int]:
    return list(range(1, len(rows) + 1))


def _named(rows: Rows) -> dict[str, Any]:
    """Show a bar's run on hovering; the axis only counts, because ids are long."""
    ids = [row["pipeline_id"] for row in rows]
    return {"customdata": ids, "hovertemplate": "%{customdata}<br>%{y:,} %{fullData.name}<extra></extra>"}


def _or_note(figure: go.Figure, rows: Rows) -> go.Figure:
    return figure if rows else with_note(figure, _NO_RUN)


def shifts_by_column(rows: Rows) -> go.Figure:
    """Show how far each column moved: each effect size as a multiple of the smallest large one."""
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
    figure = horizontal_bars(figure, "How far each column moved", "effect size (1 = large)")
    figure.update_layout(height=_MARGIN + _BAR * max(len(shown), 4))
    return figure if rows else with_note(figure, "at least one of the runs has no processed records")


def side_by_side(rows: Rows, title: str, unit: str, most: int = 15) -> go.Figure:
    """Show a and b of the rows that differ most, e.g. seconds per stage, cell or model, or rejects by reason."""
    ranked = sorted(rows, key=lambda row: -abs(row["change"] if row["change"] is not None else _largest(row)))
    shown = [row for row in rows if row in ranked[:most]][::-1]
    figure = go.Figure(layout={"barmode": "group"})
    for run, colour in (("b", ACCENT), ("a", QUIET)):
        own = [row[run] for row in shown]
        figure.add_bar(x=own, y=[row["name"] for row in shown], name=f"run {run}", orientation="h", marker_color=colour)
    figure = horizontal_bars(figure, title, unit)
    figure.update_layout(height=_MARGIN + 1.6 * _BAR * max(len(shown), 3), legend_traceorder="reversed")
    return figure if shown else with_note(figure, "nothing to compare")


def _largest(row: Mapping[str, Any]) -> float:
    return max(float(row["a"] or 0), float(row["b"] or 0))
