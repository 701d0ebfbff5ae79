"""The rules of a record, exactly, one record at a time. A record takes some 20 microseconds.

A null counts as absent. An integer may be written 5, 5.0 or 5e0, as JSON Schema has it, but never 5.5 or "5".
Fields are checked in the order of the table in docs/stages.md; the first that breaks a rule gives the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from typing import Any

from pipeline_lib.record import CATEGORIES, CUSTOMER_PARTS, EXPORTED_FIELDS, KNOWN_FIELDS
from workbench.data.rejects import Reason, RecordRejected
from workbench.data.strict_json import (
    NotFinite,
    NumberText,
    RepeatedKey,
    check_text,
    json_text,
    parse_object,
    printable,
)
from workbench.stage.parameter_types import moment_of

UNKNOWN_CATEGORY = "unknown_category"
"""The reason of this data set: a category other than A to D, once trimmed and upper-cased."""

NAME_CHARACTERS = 200
MAX_ID = 2**63 - 1
MAX_QUANTITY = 1_000_000
MAX_VALUE = Decimal("99999999.99")

_CENT = Decimal("0.01")
# Money has a context of its own: other code may have changed the contexts of the process.
_EXACT = Context(
    prec=40,
    rounding=ROUND_HALF_UP,
    Emin=MIN_EMIN,
    Emax=MAX_EMAX,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[InvalidOperation],
)


@dataclass(frozen=True)
class Record:
    """An accepted record; `value` in cents, `created_at` in UTC, `extra` the unknown fields as JSON text.

    `repaired` names the fields that were trimmed, upper-cased or rounded.
    """

    id: int
    name: str
    category: str
    cents: int
    quantity: int
    is_active: bool
    created_at: datetime
    customer_name: str | None
    customer_email: str | None
    customer_country: str | None
    extra: str | None
    repaired: frozenset[str]


def validate(raw: bytes, reference: datetime) -> Record:
    """Read and check one record; `reference` stands in for an absent `created_at`. Raises `RecordRejected`."""
    fields = as_input(parse_object(raw))
    repaired: set[str] = set()
    return Record(
        id=_integer(fields, "id", MAX_ID),
        name=_name(fields, repaired),
        category=_category(fields, repaired),
        cents=_cents(fields, repaired),
        quantity=_integer(fields, "quantity", MAX_QUANTITY),
        is_active=_is_active(fields),
        created_at=_created_at(fields, reference),
        **_customer(fields),
        extra=_extra(fields),
        repaired=frozenset(repaired),
    )


def as_input(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record of our own export as the input it was made of: derived fields go, customer and extra come back.

    A record is ours when its keys are exactly those of the export; others are returned as they are. Raises
    `RecordRejected` for an `extra` that is no object.
    """
    if fields.keys() != EXPORTED_FIELDS.keys():
        return fields
    extra = _object(fields["extra"], "extra")
    customer = _object(extra.get("customer"), "extra.customer")
    names = {part: fields[f"customer_{part}"] for part in CUSTOMER_PARTS}
    own = {name: fields[name] for name in KNOWN_FIELDS if name != "customer"}
    return {**extra, **own, "customer": {**customer, **names}}


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, RepeatedKey):
        raise RecordRejected(Reason.DUPLICATE_KEY, f"{path}.{printable(value)}")
    if not isinstance(value, dict):
        raise RecordRejected(Reason.WRONG_TYPE, path)
    return value


def _required(fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    if value is None:
        raise RecordRejected(Reason.MISSING_FIELD, name)
    return value


def _number(fields: Mapping[str, Any], name: str) -> Decimal:
    value = _required(fields, name)
    if isinstance(value, NotFinite):
        raise RecordRejected(Reason.NOT_FINITE, name)
    if not isinstance(value, NumberText):
        raise RecordRejected(Reason.WRONG_TYPE, name)
    try:
        return Decimal(value, _EXACT)
    except InvalidOperation as error:
        raise RecordRejected(Reason.OUT_OF_RANGE, name) from error


def _integer(fields: Mapping[str, Any], name: str, maximum: int) -> int:
    number = _number(fields, name)
    if not 0 <= number <= maximum:
        raise RecordRejected(Reason.OUT_OF_RANGE if _is_whole(number) else Reason.WRONG_TYPE, name)
    if not _is_whole(number):
        raise RecordRejected(Reason.WRONG_TYPE, name)
    return int(number)


def _is_whole(number: Decimal) -> bool:
    """Return whether it is an integer, without computing the digits of 1e999999."""
    _, digits, exponent = number.as_tuple()
    return number == 0 or int(exponent) >= 0 or not any(digits[int(exponent) :])


def _cents(fields: Mapping[str, Any], repaired: set[str]) -> int:
    """Round half up to cents, from the decimal text; the bounds hold for the number as it was written."""
    number = _number(fields, "value")
    if not 0 <= number <= MAX_VALUE:
        raise RecordRejected(Reason.OUT_OF_RANGE, "value")
    rounded = _EXACT.quantize(number, _CENT)
    if rounded != number:
        repaired.add("value")
    return int(_EXACT.scaleb(rounded, 2))


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = _required(fields, name)
    if isinstance(value, NotFinite):
        raise RecordRejected(Reason.NOT_FINITE, name)
    if type(value) is not str:
        raise RecordRejected(Reason.WRONG_TYPE, name)
    return value


def _name(fields: Mapping[str, Any], repaired: set[str]) -> str:
    text = _text(fields, "name")
    check_text(text, "name")
    trimmed = text.strip()
    if not 1 <= len(trimmed) <= NAME_CHARACTERS:
        raise RecordRejected(Reason.OUT_OF_RANGE, "name")
    if trimmed != text:
        repaired.add("name")
    return trimmed


def _category(fields: Mapping[str, Any], repaired: set[str]) -> str:
    text = _text(fields, "category")
    category = text.strip().upper()
    if category not in CATEGORIES:
        raise RecordRejected(UNKNOWN_CATEGORY, "category")
    if category != text:
        repaired.add("category")
    return category


def _is_active(fields: Mapping[str, Any]) -> bool:
    value = fields.get("is_active")
    if isinstance(value, NotFinite):
        raise RecordRejected(Reason.NOT_FINITE, "is_active")
    if value is not None and not isinstance(value, bool):
        raise RecordRejected(Reason.WRONG_TYPE, "is_active")
    return True if value is None else value


def _created_at(fields: Mapping[str, Any], reference: datetime) -> datetime:
    if fields.get("created_at") is None:
        return reference
    text = _text(fields, "created_at")
    try:
        return moment_of(text)
    except ValueError as error:
        raise RecordRejected(Reason.INVALID_DATE, "created_at") from error


def _customer(fields: Mapping[str, Any]) -> dict[str, Any]:
    customer = _object(fields.get("customer"), "customer")
    return {f"customer_{part}": _customer_part(customer, part) for part in CUSTOMER_PARTS}


def _customer_part(customer: Mapping[str, Any], part: str) -> str | None:
    value = customer.get(part)
    if value is None:
        return None
    if type(value) is not str:
        raise RecordRejected(Reason.WRONG_TYPE, f"customer.{part}")
    check_text(value, f"customer.{part}")
    return value


def _extra(fields: Mapping[str, Any]) -> str | None:
    """Keep every unknown field exactly, those of the customer below `customer`."""
    extra = {name: value for name, value in fields.items() if name not in KNOWN_FIELDS}
    customer = fields.get("customer") or {}
    unknown = {name: value for name, value in customer.items() if name not in CUSTOMER_PARTS}
    if unknown:
        extra["customer"] = unknown
    return json_text(extra, "") if extra else None
