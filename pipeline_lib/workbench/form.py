"""A form of widgets made from a parameter model: moving a widget sets the notebook's variable of that name."""

from __future__ import annotations

from collections.abc import MutableMapping
from math import log10
from typing import Any, Literal, get_args, get_origin

import ipywidgets as widgets
from annotated_types import Ge, Le
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pipeline_lib.parameters import StageParameters

_LOGARITHMIC_FROM = 10_000  # a range wider than this is easier to move through in powers of ten
_LAYOUT = widgets.Layout(width="34em")
_STYLE = {"description_width": "11em"}


def tuning_form(
    model: type[StageParameters], namespace: MutableMapping[str, Any], names: tuple[str, ...] = ()
) -> widgets.VBox:
    """Return a form for the named fields of `model` (all, if none are named), bound to variables in `namespace`.

    What the model refuses is said below the form and leaves the variables as they were.
    """
    problem = widgets.HTML()
    inputs = {name: _input(name, model.model_fields[name], namespace) for name in names or model.model_fields}

    def take_over(_change: object) -> None:
        values = {name: _value(each) for name, each in inputs.items()}
        try:
            checked = model.model_validate(values)
        except ValidationError as error:
            problem.value = "; ".join(f"{each['loc'][0]}: {each['msg']}" for each in error.errors())
            return
        problem.value = ""
        namespace.update({name: getattr(checked, name) for name in inputs})

    for each in inputs.values():
        each.observe(take_over, names="value")
    hints = [widgets.HTML(f"<small>{model.model_fields[name].description}</small>") for name in inputs]
    rows = [widgets.HBox(pair) for pair in zip(inputs.values(), hints, strict=True)]
    return widgets.VBox([*rows, problem])


def _input(name: str, field: FieldInfo, namespace: MutableMapping[str, Any]) -> widgets.Widget:
    value = namespace.get(name, field.default)
    shared = {"description": name.replace("_", " "), "layout": _LAYOUT, "style": _STYLE}
    if get_origin(field.annotation) is Literal:
        return widgets.Dropdown(options=get_args(field.annotation), value=value, **shared)
    if field.annotation is str:
        return widgets.Text(value=value, **shared)
    low, high = _bounds(field)
    if low is None or high is None:
        return widgets.BoundedIntText(value=value, min=low or 0, max=high or 10**9, **shared)
    if field.annotation is float:
        return widgets.FloatSlider(value=value, min=low, max=high, step=0.01, readout_format=".0%", **shared)
    if low > 0 and high - low > _LOGARITHMIC_FROM:
        return widgets.FloatLogSlider(
            value=value, min=log10(low), max=log10(high), step=0.1, readout_format=",.0f", **shared
        )
    return widgets.BoundedIntText(value=value, min=low, max=high, **shared)


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    low = next((each.ge for each in field.metadata if isinstance(each, Ge)), None)
    high = next((each.le for each in field.metadata if isinstance(each, Le)), None)
    return low, high


def _value(widget: widgets.Widget) -> Any:
    return round(widget.value) if isinstance(widget, widgets.FloatLogSlider) else widget.value
