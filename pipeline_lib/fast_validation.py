"""Clean records, read fast; every record that is not provably clean is decided by `validation`.

A record passes here only if every rule of `validation` holds for it without any repair. msgspec checks types,
bounds, UTF-8 and escapes while it parses; unknown fields and nulls make it give up. A repeated key shows in the
number of quotation marks: keys and texts of a record with all its fields need 34, each repetition at least two more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
import numpy as np
import polars as pl
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from pipeline_lib.validation import MAX_ID, MAX_QUANTITY, NAME_CHARACTERS, Record

FRAME = pl.Schema(
    {
        "index": pl.Int64(),
        "id": pl.Int64(),
        "name": pl.String(),
        "category": pl.String(),
        "cents": pl.Int64(),
        "quantity": pl.Int32(),
        "is_active": pl.Boolean(),
        "created_at": pl.Datetime("us", "UTC"),
        "customer_name": pl.String(),
        "customer_email": pl.String(),
        "customer_country": pl.String(),
        "extra": pl.String(),
    }
)
"""Accepted records of a batch; `index` is the record's place in the batch, `cents` its value."""

_CUSTOMER_COLUMNS = ("customer_name", "customer_email", "customer_country")
_MONEY = r"^[0-9]{1,7}(\.[0-9]{1,2})?$"
_MOMENT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_QUOTES_REQUIRED = 2 * (5 + 2)
_QUOTES_ACTIVE = 2 * 1
_QUOTES_CREATED = 2 * (1 + 1)
_QUOTES_CUSTOMER = 2 * (4 + 3)
_QUOTES_ALL = _QUOTES_REQUIRED + _QUOTES_ACTIVE + _QUOTES_CREATED + _QUOTES_CUSTOMER


class _Customer(Struct, forbid_unknown_fields=True, gc=False):
    name: str
    email: str
    country: str


class _CleanRecord(Struct, forbid_unknown_fields=True, gc=False):
    """`int | float` keeps 5 and 5.0 apart: only the first is read here. `value` stays text, to be exact."""

    id: Annotated[int, Meta(ge=0, le=MAX_ID)] | float
    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]
    category: Literal["A", "B", "C", "D"]
    value: Raw
    quantity: Annotated[int, Meta(ge=0, le=MAX_QUANTITY)] | float
    is_active: bool | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    customer: _Customer | UnsetType = UNSET


_DECODER = msgspec.json.Decoder(_CleanRecord)
_NOBODY = _Customer(None, None, None)  # type: ignore[arg-type]  # stands for an absent customer: three nulls


def screen(texts: Sequence[bytes], reference: datetime) -> tuple[pl.DataFrame, list[int]]:
    """Return the provably clean records as a `FRAME` and the indices of all others, both in order."""
    indices, records = _decoded(texts)
    frame = _frame(indices, records, reference)
    clean = frame.filter(pl.col("cents").is_not_null() & pl.col("created_at").is_not_null())
    doubtful = np.ones(len(texts), dtype=bool)
    doubtful[clean["index"].to_numpy()] = False
    return clean, np.flatnonzero(doubtful).tolist()


def frame_of(indices: Sequence[int], records: Sequence[Record]) -> pl.DataFrame:
    """Put records that `validate` accepted into a `FRAME`."""
    columns = {name: [getattr(record, name) for record in records] for name in FRAME if name != "index"}
    return pl.DataFrame({"index": indices, **columns}, schema=FRAME)


def _decoded(texts: Sequence[bytes]) -> tuple[list[int], list[_CleanRecord]]:
    """Parse what msgspec takes, then drop what it cannot see: repeated keys, NUL, padding, 5.0 for 5."""
    decode = _DECODER.decode
    indices, records = [], []
    for index, text in enumerate(texts):
        try:
            record = decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if _is_clean(text, record):
            indices.append(index)
            records.append(record)
    return indices, records


def _is_clean(text: bytes, record: _CleanRecord) -> bool:
    is_full = record.customer is not UNSET and record.created_at is not UNSET and record.is_active is not UNSET
    name = record.name
    return (
        text.count(b'"') == (_QUOTES_ALL if is_full else _quotes(record))
        and type(record.id) is int
        and type(record.quantity) is int
        and name.strip() == name
        and not (b"\\" in text and b"\\u0000" in text)
    )


def _quotes(record: _CleanRecord) -> int:
    return (
        _QUOTES_REQUIRED
        + _QUOTES_ACTIVE * (record.is_active is not UNSET)
        + _QUOTES_CREATED * (record.created_at is not UNSET)
        + _QUOTES_CUSTOMER * (record.customer is not UNSET)
    )


def _frame(indices: list[int], records: list[_CleanRecord], reference: datetime) -> pl.DataFrame:
    people = [_NOBODY if record.customer is UNSET else record.customer for record in records]
    columns = {
        "index": indices,
        "id": [record.id for record in records],
        "name": [record.name for record in records],
        "category": [record.category for record in records],
        "cents": _cents([str(record.value, "ascii") for record in records]),
        "quantity": [record.quantity for record in records],
        "is_active": [record.is_active is not False for record in records],
        "created_at": _moments([record.created_at for record in records], reference),
        "customer_name": [person.name for person in people],
        "customer_email": [person.email for person in people],
        "customer_country": [person.country for person in people],
        "extra": pl.repeat(None, len(records), dtype=pl.String, eager=True),
    }
    return pl.DataFrame(columns, schema=FRAME)


def _cents(texts: list[str]) -> pl.Series:
    """Return cents where the text has at most two decimals, else null.

    Seven digits and two decimals are far within a double's 15, so the nearest whole number of cents is exact.
    """
    column = pl.Series(texts, dtype=pl.String)
    cents = (column.cast(pl.Float64, strict=False) * 100).round().cast(pl.Int64, strict=False)
    return _where(column.str.contains(_MONEY), cents)


def _moments(texts: list[str | UnsetType], reference: datetime) -> pl.Series:
    """Return moments in UTC where the text has the usual form, the reference where it is absent, else null."""
    absent = [text is UNSET for text in texts]
    column = pl.Series([None if text is UNSET else text for text in texts], dtype=pl.String)
    parsed = column.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False)
    sure = column.str.contains(_MOMENT) & parsed.is_between(
        datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
    )
    default = pl.repeat(reference, len(texts), dtype=FRAME["created_at"], eager=True)
    return default.zip_with(pl.Series(absent, dtype=pl.Boolean), _where(sure, parsed))


def _where(mask: pl.Series, values: pl.Series) -> pl.Series:
    return values.zip_with(mask.fill_null(False), pl.repeat(None, len(values), dtype=values.dtype, eager=True))
