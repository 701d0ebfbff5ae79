"""The form that starts a run, made from the parameter models: types, bounds, words and defaults are theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le, MaxLen
from pydantic.fields import FieldInfo

from workbench.base.errors import InvalidParameter
from workbench.stage.parameter_types import readable_file
from workbench.stage.pipeline import stage_named
from workbench.stage.run_parameters import STAGE_PARAMETERS, RunParameters

_WHOLE_RUN = "The run"


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
    taken = [name for each in STAGE_PARAMETERS.values() for name in each.model_fields]
    shared = [name for name in model.model_fields if taken.count(name) != 1]
    groups = {
        stage_named(stage).title: [name for name in model.model_fields if name in each.model_fields]
        for stage, each in STAGE_PARAMETERS.items()
    }
    groups = {title: [name for name in names if name not in shared] for title, names in groups.items()}
    groups[_WHOLE_RUN] = shared
    return [
        FormGroup(title, [_field(name, model.model_fields[name], given, problems) for name in names])
        for title, names in groups.items()
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
        return FormField(*words, "text", value, most=_bound(info, MaxLen), problem=problems.get(name, ""))
    return FormField(
        *words,
        "number",
        value,
        step="1" if info.annotation is int else "any",
        least=_bound(info, Ge),
        most=_bound(info, Le),
        problem=problems.get(name, ""),
    )


def _label(name: str, info: FieldInfo) -> str:
    """Return the field's name in words, with its unit where the name does not say it."""
    words = name.replace("_", " ").capitalize()
    unit = str(info.json_schema_extra.get("unit", "")) if isinstance(info.json_schema_extra, dict) else ""
    return f"{words} ({unit})" if unit and unit not in words.lower() else words


def _help(info: FieldInfo) -> str:
    """Return the field's own words with its bounds."""
    words = f"{info.description or ''}"
    least, most = _bound(info, Ge), _bound(info, Le)
    if least and most:
        return f"{words} ({_grouped(least)} to {_grouped(most)})"
    return f"{words} ({_grouped(least)} or more)" if least else words


def _grouped(number: str) -> str:
    return f"{int(number):,}" if number.lstrip("-").isdigit() else number


def _bound(info: FieldInfo, kind: type[Ge] | type[Le] | type[MaxLen]) -> str:
    names = {Ge: "ge", Le: "le", MaxLen: "max_length"}
    return next((_text(getattr(each, names[kind])) for each in info.metadata if isinstance(each, kind)), "")


def _text(value: Any) -> str:
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
