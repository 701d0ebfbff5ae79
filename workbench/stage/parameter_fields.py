"""What every form of parameters shows: groups, bounds and units, read from the parameter models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from workbench.stage.pipeline import stage_named
from workbench.stage.run_parameters import STAGE_PARAMETERS

WHOLE_RUN = "The run"


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Return field names by the title of the one stage that takes them; all others belong to the run."""
    names = list(names)
    taken = [name for model in STAGE_PARAMETERS.values() for name in model.model_fields]
    own = [name for name in names if taken.count(name) == 1]
    groups = {
        stage_named(stage).title: [name for name in own if name in model.model_fields]
        for stage, model in STAGE_PARAMETERS.items()
    }
    groups[WHOLE_RUN] = [name for name in names if name not in own]
    return {title: fields for title, fields in groups.items() if fields}


def bounds(info: FieldInfo) -> tuple[Any, Any]:
    """Return the least and the greatest value the model takes; None where there is no bound."""
    low = next((each.ge for each in info.metadata if isinstance(each, Ge)), None)
    high = next((each.le for each in info.metadata if isinstance(each, Le)), None)
    return low, high


def range_text(info: FieldInfo) -> str:
    """Return the field's bounds: "1 to 9", "1 or more", or nothing."""
    low, high = bounds(info)
    if low is None:
        return "" if high is None else f"{number_text(high)} or less"
    return f"{number_text(low)} or more" if high is None else f"{number_text(low)} to {number_text(high)}"


def number_text(number: float) -> str:
    """Return a number with thousands separators; a whole one without decimals."""
    return f"{int(number):,}" if number == int(number) else str(number)


def unit_of(info: FieldInfo) -> str:
    """Return what the field counts, empty where it has no unit."""
    extra = info.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""
