"""Figures of stages 1 and 2: the generated values, the rejects, and the defects found.

Everything is counted before it is drawn: a figure holds some hundred numbers, however many records there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson
import plotly.graph_objects as go
import polars as pl

from pipeline_lib.record import CATEGORIES
from workbench.charts.theme import ACCENT, PALETTE, QUIET, as_label, horizontal_bars, titled, with_note
from workbench.data.rejects import scan_rejects

_BINS = 40
_SAMPLE = 50_000
_HIGHEST = 1_000.0
CATEGORY_COLOURS = dict(zip(CATEGORIES, PALETTE, strict=False))


def generated_values(path: Path) -> go.Figure:
    """Show the distribution of `value` in the first 50,000 records of a generated file; defective ones are left out."""
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
    """Show the distribution of `value` in each category, in 40 bins of equal width; the median is in the legend."""
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


def rejects_by_reason(folder: Path) -> go.Figure:
    """Count the rejects of rejects.jsonl by reason, split by the field that caused them."""
    field = pl.col("field").fill_null("whole record")
    counts = scan_rejects(folder).group_by("reason", field).len().sort("len", descending=True).collect()
    reasons = counts.group_by("reason").agg(pl.col("len").sum()).sort("len", "reason")["reason"].to_list()
    figure = horizontal_bars(go.Figure(), "Rejects by reason and field", "records")
    shown = counts.group_by("field").agg(pl.col("len").sum()).sort("len", descending=True).head(12)["field"].to_list()
    for name in shown:
        own = counts.filter(pl.col("field") == name)
        figure.add_bar(x=own["len"].to_list(), y=own["reason"].to_list(), name=as_label(name), orientation="h")
    figure.update_layout(barmode="stack", yaxis={"categoryorder": "array", "categoryarray": reasons})
    return with_note(figure, "no record was rejected") if counts.is_empty() else figure


def injected_and_found(
    defects: Mapping[str, int], rejects: Mapping[str, int], repaired: Mapping[str, int]
) -> go.Figure:
    """Show the defects that stage 1 injected beside those that stage 2 found, by kind; equal bars are the proof.

    `untidy_text` is to be repaired: its counterpart is the sum of repaired fields. Without `defects`, as of an own
    input, only the defects found are shown.
    """
    found = {**rejects, "untidy_text": sum(repaired.values())}
    kinds = sorted({*defects, *(kind for kind, count in found.items() if count)})
    figure = go.Figure()
    if defects:
        agree = all(defects.get(kind, 0) == found.get(kind, 0) for kind in kinds)
        title = f"Defects injected and found: {'every one was found' if agree else 'the counts differ'}"
        counts = [defects.get(kind, 0) for kind in kinds]
        figure.add_bar(x=kinds, y=counts, name="injected", marker_color=QUIET)
    else:
        title = "Defects found"
    counts = [found.get(kind, 0) for kind in kinds]
    figure.add_bar(x=kinds, y=counts, name="rejected or repaired", marker_color=ACCENT)
    figure = titled(figure, title, "", "records")
    return figure if any((*defects.values(), *found.values())) else with_note(figure, "no record had a defect")


def _line(colour: str | None) -> dict[str, object]:
    return {"shape": "hvh", "color": colour or QUIET}
