"""Widgets that redraw a figure as inputs are moved: the preview of stage 1, the thresholds of stage 4."""

from __future__ import annotations

import html
import json
import threading
from collections.abc import Callable, MutableMapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go

from pipeline_lib.parameters import GenerateParameters
from pipeline_lib.preview import first_records, sample_figure
from pipeline_lib.thresholds import Thresholds, now_and_then, present_thresholds, records_by_rule
from workbench.base.errors import WorkbenchError
from workbench.jupyter.stage_session import StageSession
from workbench.jupyter.widgets import ParameterForm

_PAUSE_SECONDS = 0.2
_LINES = 5
_CHOSEN = ("records", "seed", "defect_rate", "locale", "input_format")


class Canvas:
    """A figure with words below it, drawn in a thread; of several requests close together only the last is met."""

    def __init__(self) -> None:
        self.figure = widgets.Output()
        self.words = widgets.HTML()
        self.widget = widgets.VBox([self.figure, self.words])
        self._waiting: threading.Timer | None = None

    def draw_soon(self, draw: Callable[[], tuple[go.Figure, str]]) -> None:
        """Draw after a short pause, unless another request comes before."""
        if self._waiting:
            self._waiting.cancel()
        self._waiting = threading.Timer(_PAUSE_SECONDS, self.draw, args=(draw,))
        self._waiting.daemon = True
        self._waiting.start()

    def draw(self, draw: Callable[[], tuple[go.Figure, str]]) -> None:
        """Draw now; what goes wrong on purpose is said in place of the words."""
        try:
            figure, self.words.value = draw()
        except WorkbenchError as error:
            self.words.value = f'<span role="alert">{html.escape(str(error))}</span>'
            return
        bundle = {"application/vnd.plotly.v1+json": json.loads(figure.to_json())}
        self.figure.outputs = ({"output_type": "display_data", "data": bundle, "metadata": {}},)


def generation_preview(namespace: MutableMapping[str, Any]) -> widgets.VBox:
    """Return stage 1's form with a sample of what it would make; sets the notebook's variables, starts no run."""
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
    told = f"{sample.defective:,} of all {sample.records:,} records will be defective."
    return sample_figure(sample), f"<p>{told}</p><pre>{lines}</pre>"


def threshold_tryout(stage: StageSession) -> widgets.VBox:
    """Return inputs for the rules' thresholds with the records each would have, beside those of today.

    Reads the run's processed records; writes nothing. What convinces goes into dbt/dbt_project.yml.
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
    return f"Moved: {', '.join(moved)}." if moved else "As it is now."
