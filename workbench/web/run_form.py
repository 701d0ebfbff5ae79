"""The form that starts a run, made from the parameter models: types, bounds, words and defaults are theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from annotated_types import MaxLen
from pydantic.fields import FieldInfo

from workbench.base.errors import InvalidParameter
from workbench.stage.parameter_fields import bounds, grouped, range_text, unit_of
from workbench.stage.parameter_types import readable_file
from workbench.stage.run_parameters import RunParameters


@dataclass(frozen=True)
class FormField:
    """One input. `kind` is number, text, choice or switch; `problem` says why it was refused."""

    name: str
    label: str
    help: str
    kind: str
    value: str
    step: str = ""
    least: str = ""
    most: str = ""
    choices: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class FormGroup:
    """The inputs of one stage, or of the run as a whole."""

    title: str
    fields: list[FormField]


def form_groups(model: type[RunParameters], given: Mapping[str, str], problems: Mapping[str, str]) -> list[FormGroup]:
    """Return the form, stage by stage; `given` are the values to show instead of the defaults."""
    return [
        FormGroup(title, [_field(name, model.model_fields[name], given, problems) for name in names])
        for title, names in grouped(model.model_fields).items()
    ]


def _field(name: str, info: FieldInfo, given: Mapping[str, str], problems: Mapping[str, str]) -> FormField:
    value = given.get(name, _text(info.default))
    label = _label(name, info)
    words = (name, label, _help(info))
    if get_origin(info.annotation) is Literal:
        choices = get_args(info.annotation)
        return FormField(*words, "choice", value, choices=choices, problem=problems.get(name, ""))
    if info.annotation is bool:
        return FormField(*words, "switch", value, problem=problems.get(name, ""))
    if info.annotation not in (int, float):
        return FormField(*words, "text", value, most=_longest(info), problem=problems.get(name, ""))
    low, high = bounds(info)
    return FormField(
        *words,
        "number",
        value,
        step="1" if info.annotation is int else "any",
        least=_text(low),
        most=_text(high),
        problem=problems.get(name, ""),
    )


def _label(name: str, info: FieldInfo) -> str:
    """Return the field's name in words, with its unit where the name does not say it."""
    words = name.replace("_", " ").capitalize()
    unit = unit_of(info)
    return f"{words} ({unit})" if unit and unit not in words.lower() else words


def _help(info: FieldInfo) -> str:
    """Return the field's description with its bounds."""
    described, bounded = info.description or "", range_text(info)
    return f"{described} ({bounded})" if bounded else described


def _longest(info: FieldInfo) -> str:
    """Return the greatest length of a text, empty where there is none."""
    return next((str(each.max_length) for each in info.metadata if isinstance(each, MaxLen)), "")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def refusals(values: Mapping[str, str]) -> dict[str, str]:
    """Return why each refused value is refused, by the name of its field; empty: all are fine."""
    found = {each.field: each.reason for each in RunParameters.problems_of(values)}
    if values.get("input_file") and "input_file" not in found:
        try:
            readable_file(values["input_file"])
        except InvalidParameter as error:
            found["input_file"] = error.reason
    return found


def with_readable_input(parameters: RunParameters) -> RunParameters:
    """Return the parameters with an input file that can be read now, absolute; raises `InvalidParameter`."""
    if not parameters.input_file:
        return parameters
    return parameters.model_copy(update={"input_file": readable_file(parameters.input_file)})
