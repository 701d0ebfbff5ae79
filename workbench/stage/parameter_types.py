"""What models of parameters are made of: the one typed contract of terminal, page, Prefect, widgets and notebooks.

Each stage has a model, which `pipeline.toml` names; a run's parameters are all of them together (`run_parameters`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from workbench.base.errors import InvalidParameter

_BREAKS_A_LINE_OR_A_NAME = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, lone surrogate, line, paragraph
_DATE = r"[0-9]{4}(?:-[0-9]{2}-[0-9]{2}|[0-9]{4}|-W[0-9]{2}(?:-[0-9])?|W[0-9]{2,3})"
_CLOCK = r"[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]+)?)?)?"
_ISO_8601 = re.compile(rf"{_DATE}(?:[Tt ]{_CLOCK}(?:[Zz]|[+-]{_CLOCK})?)?")


def moment_of(text: str) -> datetime:
    """Read a date, or date and time, in ISO 8601 and return it in UTC, which a missing offset means; raises ValueError.

    Stricter than Python, which takes any character before the time, and so 2024-01-01+02:00 for two o'clock. Digits
    beyond microseconds are cut off.
    """
    if not _ISO_8601.fullmatch(text):
        raise ValueError("must be ISO 8601, as 2026-11-23 or 2026-11-23T08:00:00Z")
    moment = datetime.fromisoformat(text.upper())
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must be in the years 1 to 9999 in UTC too") from error


def _reference_time(text: str) -> str:
    """Normalise to ISO 8601 in UTC; empty stays empty and means the start of the run."""
    if not text:
        return text
    moment = moment_of(text)
    if moment.year < 2:
        raise ValueError("must leave room for the 30 days before it: year 2 or later")
    return moment.isoformat()


def _plain(text: str) -> str:
    if any(unicodedata.category(character) in _BREAKS_A_LINE_OR_A_NAME for character in text):
        raise ValueError("must not hold control characters")
    return text


def counted_in(unit: str) -> Any:
    """Say what a field's number counts, for the forms and schemas that are made from the models."""
    return Field(json_schema_extra={"unit": unit})


ReferenceTime = Annotated[
    str,
    Field(description="the run's clock, ISO 8601; empty: when the run starts", max_length=40),
    AfterValidator(_reference_time),
]


InputFile = Annotated[
    str, AfterValidator(_plain), Field(max_length=4096, description="own JSON file; empty: what stage 1 made")
]


class StageParameters(BaseModel):
    """Base of all parameter models: frozen, strict about unknown names, lax about '5' for 5 as terminals send it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, field: ValidationInfo) -> Any:
        """Refuse true and false, which pydantic takes for 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(field.field_name)].annotation in (int, float):
            raise ValueError("must be a number")
        return value

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Build from outside values; raises `InvalidParameter` naming the first bad field and the reason."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _problem(cls, error.errors()[0]) from None

    @classmethod
    def trusted(cls, values: Mapping[str, Any]) -> Self:
        """Build from values that were checked where they came in, as those of a run's row; none is checked again.

        Missing ones have their defaults, unknown ones are left out: a run may be older than its stages' models.
        """
        return cls.model_construct(**values)

    @classmethod
    def problems_of(cls, values: Mapping[str, Any]) -> list[InvalidParameter]:
        """Return everything that `checked` would refuse about these values, for forms that show it all at once."""
        try:
            cls.model_validate(dict(values))
        except ValidationError as error:
            return [_problem(cls, each) for each in error.errors()]
        return []

    @classmethod
    def from_variables(cls, namespace: Mapping[str, Any]) -> Self:
        """Build from a notebook's variables of the fields' names; raises `InvalidParameter`."""
        return cls.checked({name: namespace[name] for name in cls.model_fields if name in namespace})


def readable_file(text: str) -> str:
    """Return the absolute path of an input file that can be read now; raises `InvalidParameter`."""
    path = Path(text)
    try:
        path = path.expanduser()
        if path.exists() and not path.is_file():
            raise ValueError("is not a file")
        with path.open("rb"):
            return str(path.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidParameter("input_file", f"{path}: {reason.lower()}") from error


def _problem(model: type[BaseModel], problem: Mapping[str, Any]) -> InvalidParameter:
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(sorted(model.model_fields))
        return InvalidParameter(field, f"there is no such parameter; there are: {known}")
    reason = problem["msg"].removeprefix("Value error, ")
    return InvalidParameter(field, f"{reason[0].lower()}{reason[1:]}, not {str(problem['input'])[:100]!r}")
