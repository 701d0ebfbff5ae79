"""A form of widgets made from a parameter model: names, bounds, units, help and refusals are the model's."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import floor, log10
from typing import Any, Literal, get_args, get_origin

import ipywidgets as widgets
from pydantic.fields import FieldInfo

from workbench.base.errors import InvalidParameter
from workbench.stage.parameter_fields import bounds, grouped, range_text, unit_of
from workbench.stage.parameter_types import StageParameters, readable_file
from workbench.stage.run_parameters import RunParameters

_LOGARITHMIC_FROM = 10_000  # a range wider than this is easier to move through in powers of ten
_SLIDER_TOP = 10_000_000  # a slider that ends at the bound is too coarse below it; the number field takes more
_TOLERANCE = 1e-6
_ENTRY = widgets.Layout(width="13em")
_SLIDER = widgets.Layout(width="17em")
_STYLE = {"description_width": "0"}


class ParameterForm:
    """Inputs for the fields of `model` (all, if no names are given), with what is refused said in place."""

    def __init__(
        self, model: type[StageParameters], values: Mapping[str, Any] | None = None, names: tuple[str, ...] = ()
    ) -> None:
        self.model = model
        given = values or {}
        self.fields: dict[str, Field] = {
            name: field_of(name, model.model_fields[name], given.get(name, model.model_fields[name].default))
            for name in names or model.model_fields
        }
        self._callbacks: list[Callable[[], None]] = []
        for field in self.fields.values():
            field.on_change(self._changed)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back after each change, right or wrong."""
        self._callbacks.append(callback)

    def checked(self) -> StageParameters | None:
        """Return the parameters, or None while any is refused; each refusal stands at its field."""
        values = {name: field.value for name, field in self.fields.items()}
        reasons = {problem.field: problem.reason for problem in self.model.problems_of(values)}
        if values.get("input_file"):
            reasons |= _unreadable(values["input_file"])
        for name, field in self.fields.items():
            field.tell(reasons.get(name, ""))
        return None if reasons else self.model.checked(values)

    def rows(self) -> widgets.VBox:
        """Return all inputs below each other."""
        return widgets.VBox([field.row for field in self.fields.values()])

    def by_stage(self) -> widgets.Tab:
        """Return the inputs on one tab per stage; what several stages share, and the run's own, on the last."""
        groups = grouped(self.fields)
        pages = [widgets.VBox([self.fields[name].row for name in names]) for names in groups.values()]
        return widgets.Tab(pages, titles=list(groups))

    def _changed(self) -> None:
        self.checked()
        for callback in self._callbacks:
            callback()


def run_form(model: type[RunParameters] = RunParameters) -> ParameterForm:
    """Return the form of a whole run."""
    return ParameterForm(model)


def _unreadable(path: str) -> dict[str, str]:
    try:
        readable_file(path)
    except InvalidParameter as error:
        return {"input_file": error.reason}
    return {}


@dataclass(frozen=True)
class Field:
    """One row of a form; `entry` holds the value, whatever else moves it."""

    name: str
    entry: widgets.Widget
    row: widgets.Widget
    problem: widgets.HTML

    @property
    def value(self) -> Any:
        """What stands in the input now, right or wrong."""
        return self.entry.value

    def tell(self, reason: str) -> None:
        """Show below the input what is wrong with it; an empty reason hides the line."""
        text = f'<span style="color:var(--jp-error-color1)" role="alert">{html.escape(reason)}</span>'
        self.problem.value = text if reason else ""
        self.problem.layout.display = "" if reason else "none"

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back whenever the value changes."""
        self.entry.observe(lambda _change: callback(), names="value")


def field_of(name: str, info: FieldInfo, value: Any) -> Field:
    """Return the input of one field, showing `value`."""
    entry, slider = _entry(info, value)
    entry.add_class(f"parameter-{name}")
    label = widgets.HTML(f"<label>{name.replace('_', ' ')}</label>", layout=widgets.Layout(width="11em"))
    words = " · ".join(filter(None, (html.escape(info.description or ""), range_text(info))))
    hint = widgets.HTML(f'<small>{unit_of(info)}</small> <small style="opacity:.75">{words}</small>')
    problem = widgets.HTML(layout=widgets.Layout(display="none", margin="0 0 0 11em"))
    line = widgets.HBox([label, *slider, entry, hint], layout=widgets.Layout(flex_flow="row wrap"))
    return Field(name, entry, widgets.VBox([line, problem]), problem)


def _entry(info: FieldInfo, value: Any) -> tuple[widgets.Widget, list[widgets.Widget]]:
    shared = {"value": value, "layout": _ENTRY, "style": _STYLE}
    if get_origin(info.annotation) is Literal:
        return widgets.Dropdown(options=get_args(info.annotation), **shared), []
    if info.annotation is bool:
        return widgets.Checkbox(**shared), []
    if info.annotation is float:
        return _share(info, shared)
    if info.annotation is int:
        return _whole_number(info, shared)
    return widgets.Text(**{**shared, "layout": widgets.Layout(width="30em")}), []


def _share(info: FieldInfo, shared: dict[str, Any]) -> tuple[widgets.Widget, list[widgets.Widget]]:
    low, high = bounds(info)
    entry = widgets.FloatText(step=0.01, **shared)
    if low is None or high is None:
        return entry, []
    slider = widgets.FloatSlider(
        value=shared["value"], min=low, max=high, step=0.005, readout_format=".1%", layout=_SLIDER, style=_STYLE
    )
    return entry, [_coupled(slider, entry, lambda value: round(value, 4), float)]


def _whole_number(info: FieldInfo, shared: dict[str, Any]) -> tuple[widgets.Widget, list[widgets.Widget]]:
    low, high = bounds(info)
    entry = widgets.IntText(**shared)
    if not low or high is None or high - low <= _LOGARITHMIC_FROM:
        return entry, []
    slider = widgets.FloatLogSlider(
        value=shared["value"],
        min=log10(low),
        max=log10(min(high, _SLIDER_TOP)),
        step=0.05,
        readout=False,
        layout=_SLIDER,
        style=_STYLE,
    )
    return entry, [_coupled(slider, entry, two_digits, _power)]


def _power(value: float) -> float:
    return log10(max(value, 1e-9))


def two_digits(value: float) -> int:
    """Round to two significant digits: what a slider over powers of ten can mean."""
    step: int = 10 ** max(0, floor(log10(value)) - 1)
    return round(value / step) * step


def _coupled(
    slider: widgets.Widget, entry: widgets.Widget, rounded: Callable[[float], float], place: Callable[[float], float]
) -> widgets.Widget:
    """Let slider and number field follow each other; `place` is where on the slider a value lies, in its own steps.

    A slider that is shown moves by itself to the nearest of its steps: a move that no person made is not followed.
    Nor is a slider set to the value it has just reported: by then a person may have moved it further.
    """
    held: list[bool] = []

    def follow_slider(change: dict[str, float]) -> None:
        if abs(place(change["new"]) - place(entry.value)) > slider.step / 2 + _TOLERANCE:
            held.append(True)
            try:
                entry.value = rounded(change["new"])
            finally:
                held.clear()

    def follow_entry(change: dict[str, float]) -> None:
        if not held and _is_within(change["new"], slider, place):
            slider.value = change["new"]

    slider.observe(follow_slider, names="value")
    entry.observe(follow_entry, names="value")
    return slider


def _is_within(value: float, slider: widgets.Widget, place: Callable[[float], float]) -> bool:
    return bool(slider.min <= place(value) <= slider.max)
