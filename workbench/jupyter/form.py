"""A form of widgets made from a parameter model: names, bounds, units, help and refusals are the model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from workbench.base.errors import InvalidParameter
from workbench.jupyter.fields import Field, field_of
from workbench.stage.parameters import StageParameters, readable_file
from workbench.stage.pipeline import stage_named
from workbench.stage.run_parameters import STAGE_PARAMETERS, RunParameters

_WHOLE_RUN = "The run"


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
        groups = grouped(list(self.fields))
        pages = [widgets.VBox([self.fields[name].row for name in names]) for names in groups.values()]
        return widgets.Tab(pages, titles=list(groups))

    def _changed(self) -> None:
        self.checked()
        for callback in self._callbacks:
            callback()


def grouped(names: list[str]) -> dict[str, list[str]]:
    """Return field names by the title of the one stage that takes them; all others belong to the run."""
    groups: dict[str, list[str]] = {}
    for stage, model in STAGE_PARAMETERS.items():
        others = [each.model_fields for each in STAGE_PARAMETERS.values() if each is not model]
        own = [name for name in names if name in model.model_fields and not any(name in other for other in others)]
        groups[stage_named(stage).title] = own
    placed = {name for own in groups.values() for name in own}
    groups[_WHOLE_RUN] = [name for name in names if name not in placed]
    return {title: own for title, own in groups.items() if own}


def run_form(model: type[RunParameters] = RunParameters) -> ParameterForm:
    """Return the form of a whole run."""
    return ParameterForm(model)


def _unreadable(path: str) -> dict[str, str]:
    try:
        readable_file(path)
    except InvalidParameter as error:
        return {"input_file": error.reason}
    return {}
