"""One block of generated records as JSON text: a pure function of parameters and block number.

Each block has a random stream of its own, so that any number of cores, partitions or machines writes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_lib.defects import KINDS, DefectPlan, Fragments, defective_text, plan_defects
from pipeline_lib.parameters import GenerateParameters
from pipeline_lib.record import CATEGORIES
from pipeline_lib.vocabulary import Customer, vocabulary_of
from workbench.base.errors import InvalidParameter

BLOCK_RECORDS = 65_536
SEPARATORS = {"jsonl": "\n", "array": ",\n"}
_DAY = 86_400
_SPAN = 30 * _DAY
_CENTS = (1_000, 100_000)
_QUANTITY = (1, 100)

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """What was drawn for one block, an element per record: ids, pool indices, cents, pieces, epoch seconds."""

    id: Indices
    product: Indices
    category: Indices
    cents: Indices
    quantity: Indices
    is_active: Indices
    created_at: Indices
    customer: Indices


@dataclass(frozen=True)
class Block:
    """UTF-8 text of one block (each record followed by the format's separator), records in it, defects by kind."""

    text: memoryview
    records: int
    defects: Mapping[str, int]


def block_count(records: int) -> int:
    """Return how many blocks hold this many records."""
    return -(-records // BLOCK_RECORDS)


def make_block(parameters: GenerateParameters, number: int) -> Block:
    """Draw and write the records of block `number` (from 0); raises `InvalidParameter` for an open clock."""
    start = number * BLOCK_RECORDS
    size = min(BLOCK_RECORDS, parameters.records - start)
    rng = np.random.default_rng(np.random.SeedSequence([parameters.seed, number]))
    columns = draw_columns(rng, parameters, start, size)
    plan = plan_defects(rng, start, size, parameters.defect_rate)
    texts = _sound_texts(parameters, columns)
    if len(plan.positions):
        texts = texts.scatter(plan.positions, _defective_texts(parameters, columns, plan))
    return Block(_joined(texts), size, plan.counts())


def draw_columns(rng: np.random.Generator, parameters: GenerateParameters, start: int, size: int) -> Columns:
    """Draw every field uniformly; dates are whole seconds in the 30 days up to the reference time."""
    words = vocabulary_of(parameters.locale, parameters.seed)
    return Columns(
        id=np.arange(start, start + size, dtype=np.int64),
        product=rng.integers(0, len(words.products), size),
        category=rng.integers(0, len(CATEGORIES), size),
        cents=rng.integers(*_CENTS, size, endpoint=True),
        quantity=rng.integers(*_QUANTITY, size, endpoint=True),
        is_active=rng.integers(0, 2, size),
        created_at=reference_second(parameters) - rng.integers(0, _SPAN, size),
        customer=rng.integers(0, len(words.customers), size),
    )


def reference_second(parameters: GenerateParameters) -> int:
    """Return the run's clock in whole seconds since 1970; raises `InvalidParameter` when it is not fixed yet."""
    if not parameters.reference_time:
        raise InvalidParameter("reference_time", "must be fixed before records are made; the start of the run does")
    moment = datetime.fromisoformat(parameters.reference_time)
    if moment.year < 2:
        raise InvalidParameter("reference_time", "must leave room for the 30 days before it")
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1))


@dataclass(frozen=True)
class _Pools:
    """JSON text of every value a field can take, ready to be joined: literals are escaped once, not per record."""

    products: pl.Series
    categories: pl.Series
    cents: pl.Series
    quantities: pl.Series
    seconds: pl.Series
    customers: pl.Series


@lru_cache(maxsize=4)
def _pools(locale: str, seed: int, separator: str) -> _Pools:
    words = vocabulary_of(locale, seed)
    flags = ("false", "true")
    return _Pools(
        products=pl.Series([f',"name":{_quoted(name)},"category":"' for name in words.products]),
        categories=pl.Series([f'{category}","value":' for category in CATEGORIES]),
        cents=pl.Series([f'{cents // 100}.{cents % 100:02},"quantity":' for cents in range(_CENTS[1] + 1)]),
        quantities=pl.Series(
            [f'{pieces},"is_active":{flag},"created_at":"' for pieces in range(_QUANTITY[1] + 1) for flag in flags]
        ),
        seconds=pl.Series([f'T{_clock(second)}","customer":' for second in range(_DAY)]),
        customers=pl.Series([f"{_customer_text(customer)}}}{separator}" for customer in words.customers]),
    )


def _sound_texts(parameters: GenerateParameters, columns: Columns) -> pl.Series:
    pools = _pools(parameters.locale, parameters.seed, SEPARATORS[parameters.input_format])
    days, seconds = np.divmod(columns.created_at, _DAY)
    first_day = int(days.min())
    dates = pl.Series([_date(first_day + number) for number in range(int(days.max()) - first_day + 1)])
    pieces: Sequence[pl.Series | pl.Expr] = (
        pl.lit('{"id":'),
        pl.Series(columns.id).cast(pl.String),
        pools.products.gather(columns.product),
        pools.categories.gather(columns.category),
        pools.cents.gather(columns.cents),
        pools.quantities.gather(columns.quantity * 2 + columns.is_active),
        dates.gather(days - first_day),
        pools.seconds.gather(seconds),
        pools.customers.gather(columns.customer),
    )
    return pl.select(pl.concat_str(pieces)).to_series()


def _defective_texts(parameters: GenerateParameters, columns: Columns, plan: DefectPlan) -> list[str]:
    separator = SEPARATORS[parameters.input_format]
    texts = []
    for position, kind, target in zip(plan.positions.tolist(), plan.kinds.tolist(), plan.targets.tolist(), strict=True):
        fragments = _fragments(parameters, columns, position)
        if KINDS[kind] == "duplicate_id":
            fragments = {**fragments, "id": str(columns.id[target])}
        texts.append(defective_text(KINDS[kind], fragments, int(columns.product[position])) + separator)
    return texts


def _fragments(parameters: GenerateParameters, columns: Columns, position: int) -> Fragments:
    words = vocabulary_of(parameters.locale, parameters.seed)
    cents, created_at = int(columns.cents[position]), int(columns.created_at[position])
    return {
        "id": str(columns.id[position]),
        "name": _quoted(words.products[columns.product[position]]),
        "category": f'"{CATEGORIES[columns.category[position]]}"',
        "value": f"{cents // 100}.{cents % 100:02}",
        "quantity": str(columns.quantity[position]),
        "is_active": "true" if columns.is_active[position] else "false",
        "created_at": f'"{_date(created_at // _DAY)}T{_clock(created_at % _DAY)}"',
        "customer": _customer_text(words.customers[columns.customer[position]]),
    }


def _joined(texts: pl.Series) -> memoryview:
    """Return the strings as one piece of UTF-8, without making a Python object of each."""
    arrow = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, text = arrow.buffers()
    return memoryview(text)[: np.frombuffer(offsets, dtype=np.int64)[len(arrow)]]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _customer_text(customer: Customer) -> str:
    parts = {"name": customer.name, "email": customer.email, "country": customer.country}
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def _date(day: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}+00:00"
