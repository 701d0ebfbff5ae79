"""Figures of stages 1 and 2: what was generated, what was refused, what was repaired.

Everything is counted before it is drawn: a figure holds some hundred numbers, however many records there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import plotly.graph_objects as go
import polars as pl

from pipeline_lib.rejects import scan_rejects
from workbench.charts.theme import ACCENT, CATEGORY_COLOURS, QUIET, WARNING, as_label, lying_bars, noted, titled

_BINS = 40
_SAMPLE = 50_000
_HIGHEST = 1_000.0
_MAX_DAYS = 366


def generated_values(path: Path) -> go.Figure:
    """Distribution of `value` in the first 50,000 records of a generated file; defective ones are left out."""
    with path.open("rb") as file:
        records = [_sound(line) for line, _ in zip(file, range(_SAMPLE), strict=False)]
    schema = {"category": pl.String, "value": pl.Float64}
    rows = pl.DataFrame([record for record in records if record], schema=schema, orient="row")
    return _distribution(rows.lazy())


def _sound(line: bytes) -> tuple[str, float] | None:
    """Return category and value of a generated record, None of a defective one (or of an array's bracket)."""
    try:
        record = orjson.loads(line.rstrip(b",\n"))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(record, dict) or record.get("category") not in CATEGORY_COLOURS:
        return None
    value = record.get("value")
    return (record["category"], value) if isinstance(value, float) and 0 <= value <= _HIGHEST else None


def values_by_category(dataset: Path) -> go.Figure:
    """Distribution of `value` in each category, in 40 bins of equal width; the median is in the legend."""
    return _distribution(
        pl.scan_parquet(dataset, glob=False).select("category", value=pl.col("value").cast(pl.Float64))
    )


def _distribution(rows: pl.LazyFrame) -> go.Figure:
    low, high = rows.select(low=pl.col("value").min(), high=pl.col("value").max()).collect().row(0)
    width = ((high or 0) - (low or 0)) / _BINS or 1.0
    place = ((pl.col("value") - (low or 0)) / width).floor().clip(0, _BINS - 1).cast(pl.Int32).alias("bin")
    counts = rows.group_by("category", place).len().sort("category", "bin").collect()
    medians = dict(rows.group_by("category").agg(pl.col("value").median()).collect().iter_rows())
    figure = titled(go.Figure(), "Values by category", "value (currency units)", "records")
    for category in sorted(medians):
        own = counts.filter(pl.col("category") == category)
        middles = [round((low or 0) + (place + 0.5) * width, 2) for place in own["bin"]]
        name = f"{category} · median {medians[category]:,.2f}"
        figure.add_scatter(x=middles, y=own["len"].to_list(), name=name, line=_line(CATEGORY_COLOURS.get(category)))
    figure.update_yaxes(rangemode="tozero")
    return figure


def records_per_day(dataset: Path) -> go.Figure:
    """How many records were created on each day (UTC), the newest 366 days that have any."""
    day = pl.col("created_at").dt.date().alias("day")
    counts = pl.scan_parquet(dataset, glob=False).group_by(day).len().sort("day").collect().tail(_MAX_DAYS)
    figure = titled(go.Figure(), "Records per day of creation", "day (UTC)", "records")
    figure.add_bar(x=counts["day"].to_list(), y=counts["len"].to_list(), marker_color=ACCENT)
    return figure


def rejects_by_reason(folder: Path) -> go.Figure:
    """How many records were refused for which reason, split by the field that was to blame, from rejects.jsonl."""
    field = pl.col("field").fill_null("whole record")
    counts = scan_rejects(folder).group_by("reason", field).len().sort("len", descending=True).collect()
    reasons = counts.group_by("reason").agg(pl.col("len").sum()).sort("len", "reason")["reason"].to_list()
    figure = lying_bars(go.Figure(), "Rejects by reason and field", "records")
    shown = counts.group_by("field").agg(pl.col("len").sum()).sort("len", descending=True).head(12)["field"].to_list()
    for name in shown:
        own = counts.filter(pl.col("field") == name)
        figure.add_bar(x=own["len"].to_list(), y=own["reason"].to_list(), name=as_label(name), orientation="h")
    figure.update_layout(barmode="stack", yaxis={"categoryorder": "array", "categoryarray": reasons})
    return noted(figure, "no record was refused") if counts.is_empty() else figure


def injected_and_found(
    defects: Mapping[str, int], rejects: Mapping[str, int], repaired: Mapping[str, int]
) -> go.Figure:
    """Defects that stage 1 injected beside those that stage 2 found, kind by kind; equal bars are the proof.

    `untidy_text` is to be repaired: its counterpart is the sum of repaired fields.
    """
    found = {**rejects, "untidy_text": sum(repaired.values())}
    kinds = sorted({*defects, *(kind for kind, count in found.items() if count)})
    injected_counts, found_counts = [defects.get(kind, 0) for kind in kinds], [found.get(kind, 0) for kind in kinds]
    agree = "every one was found" if injected_counts == found_counts else "the counts differ"
    figure = titled(go.Figure(), f"Defects injected and found: {agree}", "", "records")
    figure.add_bar(x=kinds, y=injected_counts, name="injected", marker_color=QUIET)
    figure.add_bar(x=kinds, y=found_counts, name="rejected or repaired", marker_color=ACCENT)
    return figure


def fields_repaired(repaired: Mapping[str, int]) -> go.Figure:
    """How many records had a field trimmed or upper-cased (name, category) or rounded (value)."""
    figure = titled(go.Figure(), "Fields repaired", "", "records")
    figure.add_bar(x=list(repaired), y=list(repaired.values()), marker_color=ACCENT, text=list(repaired.values()))
    return figure if any(repaired.values()) else noted(figure, "nothing needed repair")


def accepted_and_rejected(counts: Mapping[str, int]) -> go.Figure:
    """Where the records that were read went: one bar, two parts that must add up."""
    read, ingested, rejected = counts["read"], counts["ingested"], counts["rejected"]
    figure = lying_bars(go.Figure(), f"{read:,} read = {ingested:,} ingested + {rejected:,} rejected", "records")
    parts: Sequence[tuple[str, int, str]] = (("ingested", ingested, ACCENT), ("rejected", rejected, WARNING))
    for name, count, colour in parts:
        figure.add_bar(x=[count], y=["records"], name=name, orientation="h", marker_color=colour, text=[f"{count:,}"])
    figure.update_layout(barmode="stack", height=220)
    return figure


def _line(colour: str | None) -> dict[str, object]:
    return {"shape": "hvh", "color": colour or QUIET}
