"""Command options from the parameter models, and checked run parameters from the options given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from workbench.base.errors import InvalidParameter
from workbench.stage.parameter_types import readable_file
from workbench.stage.pipeline import STAGE_NAMES
from workbench.stage.run_parameters import RunParameters


def one_stage(text: str) -> str:
    """Return the name of a stage; raises `BadParameter` for any other text."""
    if text not in STAGE_NAMES:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, STAGE_NAMES))}.")
    return text


def parameter_options(model: type[BaseModel]) -> list[inspect.Parameter]:
    """Return one keyword parameter per field, for Typer: all are texts, so that only the model checks them."""
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(name, field))
        for name, field in model.model_fields.items()
    ]


def _annotation(name: str, field: FieldInfo) -> Any:
    flag = f"--{name.replace('_', '-')}"
    if field.annotation is bool:
        return Annotated[bool | None, typer.Option(flag, help=field.description, show_default=False)]
    return Annotated[str | None, typer.Option(flag, metavar=_metavar(field), help=_help(field), show_default=False)]


def _metavar(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    names: dict[Any, str] = {int: "INTEGER", float: "NUMBER", str: "TEXT"}
    return names[field.annotation]


def _help(field: FieldInfo) -> str:
    return f"{field.description} (default: {field.default if field.default != '' else 'empty'})"


def asked_for(given: Mapping[str, Any], assignments: Sequence[str]) -> RunParameters:
    """Return checked parameters; raises `InvalidParameter` with field and reason.

    `given` are named options (None: not given), `assignments` are `name=value` texts, which win.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise InvalidParameter(name, "write it as --set name=value")
        values[name] = value
    if values.get("input_file"):
        values["input_file"] = readable_file(values["input_file"])
    return RunParameters.checked(values)
