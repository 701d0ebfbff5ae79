"""A signature for flows whose parameters are the fields of a model, each with its bounds for Prefect's form."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel

Function = TypeVar("Function", bound=Callable[..., Any])


def with_fields_of(model: type[BaseModel]) -> Callable[[Function], Function]:
    """Show the model's fields as the function's keyword parameters, before its own; they arrive in its `**values`."""

    def decorate(function: Function) -> Function:
        own = inspect.signature(function, eval_str=True, follow_wrapped=False).parameters.values()
        named = [each.replace(kind=each.KEYWORD_ONLY) for each in own if each.kind is not each.VAR_KEYWORD]
        function.__signature__ = inspect.Signature([*_fields(model), *named])  # type: ignore[attr-defined]
        return function

    return decorate


def _fields(model: type[BaseModel]) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.rebuild_annotation()
        )
        for name, field in model.model_fields.items()
    ]
