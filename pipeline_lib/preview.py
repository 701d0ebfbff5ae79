"""The first records that a generation would write, to look at before anything is started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import orjson
import plotly.graph_objects as go

from pipeline_lib.defects import KINDS, defects_before, plan_defects
from pipeline_lib.parameters import GenerateParameters
from pipeline_lib.record_blocks import BLOCK_RECORDS, SEPARATORS, draw_columns, make_block
from workbench.charts.theme import CATEGORY_COLOURS, WARNING, titled

SAMPLE = 300


@dataclass(frozen=True)
class Sample:
    """Text of the first records, the kind of defect by position, and how many of all records will be defective."""

    lines: tuple[str, ...]
    defects: dict[int, str]
    records: int
    defective: int


def first_records(parameters: GenerateParameters, size: int = SAMPLE) -> Sample:
    """Return the first `size` records, exactly as stage 1 writes them with these parameters and this clock; 0.3 s.

    Raises `InvalidParameter` for an open clock.
    """
    text = bytes(make_block(parameters, 0).text).decode()
    lines = text.split(SEPARATORS[parameters.input_format])[: min(size, parameters.records)]
    block = min(BLOCK_RECORDS, parameters.records)
    rng = np.random.default_rng(np.random.SeedSequence([parameters.seed, 0]))
    draw_columns(rng, parameters, 0, block)  # the plan follows the columns in the block's stream
    plan = plan_defects(rng, 0, block, parameters.defect_rate)
    kinds = {position: str(KINDS[kind]) for position, kind in zip(plan.positions, plan.kinds, strict=True)}
    shown = {int(position): kind for position, kind in kinds.items() if position < len(lines)}
    return Sample(tuple(lines), shown, parameters.records, defects_before(parameters.records, parameters.defect_rate))


def sample_figure(sample: Sample) -> go.Figure:
    """Show value by id: sound records in their category's colour, defective ones as crosses that name their kind."""
    figure = go.Figure()
    sound = [orjson.loads(line) for number, line in enumerate(sample.lines) if number not in sample.defects]
    for category, colour in CATEGORY_COLOURS.items():
        own = [record for record in sound if record["category"] == category]
        ids, values = [record["id"] for record in own], [record["value"] for record in own]
        names = [record["name"] for record in own]
        figure.add_scatter(x=ids, y=values, name=category, mode="markers", marker_color=colour, hovertext=names)
    broken = {"symbol": "x", "color": WARNING, "size": 9}
    kinds = {number: kind.replace("_", " ") for number, kind in sample.defects.items()}
    where, named = list(kinds), list(kinds.values())
    figure.add_scatter(x=where, y=[0] * len(where), name="defective", mode="markers", marker=broken, hovertext=named)
    told = ", ".join(f"{count} {kind}" for kind, count in Counter(named).items())
    title = f"First {len(sample.lines):,} of {sample.records:,} records, {len(where):,} of them defective"
    figure = titled(figure, title, "record", "value (currency units)")
    return figure.add_annotation(text=told, x=0, y=1.04, xref="paper", yref="paper", showarrow=False)
