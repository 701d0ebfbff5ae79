"""The mart item_metrics as a stream of Arrow batches, read from one snapshot of the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_manager import ProgrammingError

from pipeline_lib.exported_fields import DECIMALS, EXTRA_WHEN_NONE, FIELDS, MOMENTS
from workbench.base.errors import ManifestBroken
from workbench.services.database_errors import DRIVER_ERRORS, translated

MART = "item_metrics"
_BATCH_BYTES = 4 << 20
_COLUMNS = ", ".join(f"{name}::{DECIMALS[name]}" if name in DECIMALS else name for name in FIELDS)
_RECORDS = f"select {_COLUMNS} from item_metrics order by id"  # noqa: S608  made of this project's own names


@dataclass(frozen=True)
class MartRecords:
    """`batches` have the exported fields in order, decimals and timestamps as text; `count` is how many rows follow."""

    count: int
    batches: Iterator[pa.RecordBatch]


@contextmanager
def mart_records(database_url: str, schema: str) -> Iterator[MartRecords]:
    """Read `schema`.item_metrics ordered by id; memory stays flat, whatever its size.

    Count and rows come from one repeatable-read snapshot. Raises `ServiceUnavailable` when the database is gone,
    `StatementFailed` when it gives up a statement, and `ManifestBroken` when there is no such mart.
    """
    with _errors_told(schema), adbc.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read, read only")
        cursor.execute("set local work_mem = '64MB'")
        # The schema is a bound value: psycopg2's `Identifier` needs a connection of psycopg2.
        cursor.execute("select set_config('search_path', quote_ident($1), true)", (schema,))
        cursor.execute("select count(*) from item_metrics")
        count = cursor.fetchall()[0][0]
        yield MartRecords(count, _batches(cursor))


def _batches(cursor: adbc.Cursor) -> Iterator[pa.RecordBatch]:
    cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
    cursor.execute(_RECORDS)
    yield from map(_as_text, cursor.fetch_record_batch())


def _as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Take numbers as PostgreSQL writes them, timestamps as ISO 8601 in UTC, and {} for no extra fields."""
    columns = {name: _storage(batch[name]) for name in FIELDS}
    for name in MOMENTS:
        columns[name] = iso_8601(columns[name])
    columns["extra"] = pc.fill_null(columns["extra"], EXTRA_WHEN_NONE)
    return pa.RecordBatch.from_pydict(columns)


def iso_8601(moments: pa.Array) -> pa.Array:
    """Return timestamps in UTC as text like 2026-11-23T08:30:12.000000Z."""
    local = moments.cast(pa.timestamp("us")).cast(pa.string())  # with its zone, each value would cost 12 microseconds
    return pc.binary_join_element_wise(pc.replace_substring(local, " ", "T"), "Z", "")


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


@contextmanager
def _errors_told(schema: str) -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translated(error) from error
    except ProgrammingError as error:
        if error.sqlstate not in {"42P01", "3F000"}:
            raise
        raise ManifestBroken(f"there is no mart {schema}.{MART}: run stage 4, transform, first") from error
