"""Widgets that redraw a figure when their inputs change: the preview of stage 1, the thresholds of stage 4."""

from __future__ import annotations

import html
import json
import threading
from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import ipywidgets as widgets
import numpy as np
import orjson
import plotly.graph_objects as go
import yaml
from jinja2 import Environment, FileSystemLoader
from psycopg2 import sql

from pipeline_lib.charts_input import CATEGORY_COLOURS
from pipeline_lib.defects import KINDS, defects_before, plan_defects
from pipeline_lib.parameters import GenerateParameters
from pipeline_lib.record_blocks import BLOCK_RECORDS, SEPARATORS, draw_columns, make_block
from workbench.base.errors import WorkbenchError
from workbench.base.settings import DBT_PROJECT
from workbench.charts.theme import ACCENT, QUIET, WARNING, horizontal_bars, titled
from workbench.data.run_schema import connected
from workbench.jupyter.stage_session import StageSession
from workbench.jupyter.widgets import ParameterForm

SAMPLE = 300
_PAUSE_SECONDS = 0.2
_LINES = 5
_CHOSEN = ("records", "seed", "defect_rate", "locale", "input_format")

_COUNTS = """
select pricing_tier, case when is_high_value then 'high_value' end, stock_status, count(*)
from {{ ref('item_metrics') }}
group by 1, 2, 3
"""
_RULES = ("premium", "standard", "basic", "high_value", "available", "low_stock", "out_of_stock", "inactive")


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
    kinds_text = ", ".join(f"{count} {kind}" for kind, count in Counter(named).items())
    title = f"First {len(sample.lines):,} of {sample.records:,} records, {len(where):,} of them defective"
    figure = titled(figure, title, "record", "value (currency units)")
    return figure.add_annotation(text=kinds_text, x=0, y=1.04, xref="paper", yref="paper", showarrow=False)


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of the rules: total values in currency units, pieces in stock. Named like dbt's variables."""

    premium_above: int
    standard_above: int
    high_value_above: int
    low_stock_below: int


@cache
def _project_variables() -> dict[str, Any]:
    variables: dict[str, Any] = yaml.safe_load((DBT_PROJECT / "dbt_project.yml").read_text("utf-8"))["vars"]
    return variables


def present_thresholds() -> Thresholds:
    """Return the thresholds of dbt_project.yml."""
    variables = _project_variables()
    return Thresholds(**{name: variables[name] for name in Thresholds.__dataclass_fields__})


def records_by_rule(database_url: str, schema: str, thresholds: Thresholds) -> dict[str, int]:
    """Count the run's processed records by pricing tier, high value and stock status; nothing is written.

    The rules are those of dbt's model item_metrics, rendered with these thresholds.
    """
    counts: Counter[str] = Counter()
    with connected(database_url) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(schema)))
        cursor.execute(_rendered(_COUNTS, thresholds))
        for *names, records in cursor.fetchall():
            counts.update({name: records for name in names if name})
    return {name.replace("_", " "): counts[name] for name in _RULES}


def _rendered(query: str, thresholds: Thresholds) -> str:
    """Render a query on dbt's models as dbt does, with models as subqueries and sources as tables."""
    environment = Environment(loader=FileSystemLoader(DBT_PROJECT), autoescape=False)
    variables = {**_project_variables(), **asdict(thresholds)}

    def model(name: str) -> str:
        file = next((DBT_PROJECT / "models").rglob(f"{name}.sql"))
        return f"({rendered(file.read_text('utf-8'))}) as {name}"

    def rendered(text: str) -> str:
        return environment.from_string("{% from 'macros/literal.sql' import literal with context %}" + text).render(
            var=variables.__getitem__, ref=model, source=lambda _, table: table, config=lambda **_: ""
        )

    return rendered(query)


def now_and_then(now: dict[str, int], then: dict[str, int]) -> go.Figure:
    """Show the counts by the present thresholds beside those by the thresholds that are tried."""
    figure = go.Figure(layout={"barmode": "group"})
    for counts, name, colour in ((then, "tried", ACCENT), (now, "now", QUIET)):
        values = list(counts.values())
        texts = [f"{value:,}" for value in values]
        figure.add_bar(x=values, y=list(counts), name=name, orientation="h", marker_color=colour, text=texts)
    figure.update_yaxes(autorange="reversed")
    figure = horizontal_bars(figure, "Records by rule", "records")
    return figure.update_layout(height=460, legend_traceorder="reversed")


class Canvas:
    """A figure with a text below it, drawn in a thread; of several requests close together only the last is drawn."""

    def __init__(self) -> None:
        self.figure = widgets.Output()
        self.text = widgets.HTML()
        self.widget = widgets.VBox([self.figure, self.text])
        self._waiting: threading.Timer | None = None

    def draw_soon(self, draw: Callable[[], tuple[go.Figure, str]]) -> None:
        """Draw after a short pause, unless another request comes before."""
        if self._waiting:
            self._waiting.cancel()
        self._waiting = threading.Timer(_PAUSE_SECONDS, self.draw, args=(draw,))
        self._waiting.daemon = True
        self._waiting.start()

    def draw(self, draw: Callable[[], tuple[go.Figure, str]]) -> None:
        """Draw now; an error of the workbench is shown in place of the text."""
        try:
            figure, self.text.value = draw()
        except WorkbenchError as error:
            self.text.value = f'<span role="alert">{html.escape(str(error))}</span>'
            return
        bundle = {"application/vnd.plotly.v1+json": json.loads(figure.to_json())}
        self.figure.outputs = ({"output_type": "display_data", "data": bundle, "metadata": {}},)


def generation_preview(namespace: MutableMapping[str, Any]) -> widgets.VBox:
    """Return stage 1's form with a sample of its records; sets the notebook's variables, starts no run."""
    form, canvas = ParameterForm(GenerateParameters, namespace, _CHOSEN), Canvas()
    clock = datetime.now(UTC).isoformat()

    def redraw() -> None:
        checked = form.checked()
        if isinstance(checked, GenerateParameters):
            namespace.update({name: getattr(checked, name) for name in form.fields})
            own_clock = namespace.get("reference_time") or clock
            parameters = checked.model_copy(update={"reference_time": own_clock})
            canvas.draw_soon(lambda: _previewed(parameters))

    form.on_change(redraw)
    redraw()
    return widgets.VBox([form.rows(), canvas.widget])


def _previewed(parameters: GenerateParameters) -> tuple[go.Figure, str]:
    sample = first_records(parameters)
    lines = "\n".join(html.escape(line) for line in sample.lines[:_LINES])
    defective = f"{sample.defective:,} of all {sample.records:,} records will be defective."
    return sample_figure(sample), f"<p>{defective}</p><pre>{lines}</pre>"


def threshold_tryout(stage: StageSession) -> widgets.VBox:
    """Return inputs for the thresholds of the rules, with the records of each rule beside those by the present ones.

    Reads the run's processed records; writes nothing. A better threshold is set in dbt/dbt_project.yml.
    """
    present = present_thresholds()
    now = records_by_rule(stage.database_url, stage.schema, present)
    style = {"description_width": "10em"}
    inputs = {
        name: widgets.BoundedIntText(value=value, min=0, max=10**9, description=name.replace("_", " "), style=style)
        for name, value in asdict(present).items()
    }
    canvas = Canvas()

    def tried() -> tuple[go.Figure, str]:
        thresholds = Thresholds(**{name: each.value for name, each in inputs.items()})
        then = records_by_rule(stage.database_url, stage.schema, thresholds)
        return now_and_then(now, then), _difference(now, then)

    for each in inputs.values():
        each.observe(lambda _change: canvas.draw_soon(tried), names="value")
    canvas.draw(tried)
    return widgets.VBox([*inputs.values(), canvas.widget])


def _difference(now: dict[str, int], then: dict[str, int]) -> str:
    moved = [f"{name} {then[name] - now[name]:+,}" for name in now if then[name] != now[name]]
    return f"Moved: {', '.join(moved)}." if moved else "The same as now."
