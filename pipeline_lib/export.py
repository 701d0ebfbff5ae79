"""Stage 5: the run's mart item_metrics as one output file, ordered by id, read from one snapshot of the database.

`extra` is an object in every record, {} when there were no unknown fields. Timestamps are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc
from adbc_driver_manager import ProgrammingError

from pipeline_lib.parameters import ExportParameters
from pipeline_lib.record import EXPORTED_FIELDS
from workbench.base.errors import ManifestBroken
from workbench.data.output_formats import Fields, Output, Records, write_output
from workbench.services.database_errors import DRIVER_ERRORS, translated
from workbench.stage.artefacts import StageResult, schema_of
from workbench.stage.progress import Progress, silent

MART = "item_metrics"
FIELDS = Fields(EXPORTED_FIELDS, json=frozenset({"extra"}))
_BATCH_BYTES = 4 << 20
_COLUMNS = ", ".join(
    f"{name}::numeric({kind.precision}, {kind.scale})" if pa.types.is_decimal(kind) else name
    for name, kind in EXPORTED_FIELDS.items()
)
_RECORDS = f"select {_COLUMNS} from item_metrics order by id"  # noqa: S608  made of this project's own names


def chosen_output(pipeline_id: str, generated_at: datetime, parameters: ExportParameters) -> Output:
    """Return the output that these parameters ask for."""
    return Output(pipeline_id, generated_at, parameters.export_format, parameters.compression, parameters.csv_bom)


def export(database_url: str, output: Output, folder: Path, progress: Progress = silent) -> StageResult:
    """Write the mart of the run into `folder`; the same mart and `output` leave the same bytes. Counts: exported.

    Raises `ConservationBroken` when the file would not hold every record of the mart, `ManifestBroken` when there is
    no mart, `ServiceUnavailable` when the database is gone, and what the disk raises; the file is then not there.
    """
    with mart_records(database_url, schema_of(output.pipeline_id)) as records:
        return write_output(output, FIELDS, records, folder, progress)


@contextmanager
def mart_records(database_url: str, schema: str) -> Iterator[Records]:
    """Read `schema`.item_metrics ordered by id; memory stays flat, whatever its size.

    Decimals and timestamps come as text. Count and rows come from one repeatable-read snapshot. Raises
    `ServiceUnavailable` when the database is gone, `StatementFailed` when it gives up a statement, and
    `ManifestBroken` when there is no such mart.
    """
    with _database_errors_translated(schema), adbc.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("set transaction isolation level repeatable read, read only")
        cursor.execute("set local work_mem = '64MB'")
        # The schema is a bound value: psycopg2's `Identifier` needs a connection of psycopg2.
        cursor.execute("select set_config('search_path', quote_ident($1), true)", (schema,))
        cursor.execute("select count(*) from item_metrics")
        count = cursor.fetchall()[0][0]
        yield Records(count, _batches(cursor))


def _batches(cursor: adbc.Cursor) -> Iterator[pa.RecordBatch]:
    cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
    cursor.execute(_RECORDS)
    yield from map(_as_text, cursor.fetch_record_batch())


def _as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Take numbers as PostgreSQL writes them, timestamps as ISO 8601 in UTC, and {} for no extra fields."""
    columns = {name: _storage(batch[name]) for name in EXPORTED_FIELDS}
    for name, kind in EXPORTED_FIELDS.items():
        if pa.types.is_timestamp(kind):
            columns[name] = iso_8601(columns[name])
    columns["extra"] = pc.fill_null(columns["extra"], "{}")
    return pa.RecordBatch.from_pydict(columns)


def iso_8601(moments: pa.Array) -> pa.Array:
    """Return timestamps in UTC as text like 2026-11-23T08:30:12.000000Z."""
    local = moments.cast(pa.timestamp("us")).cast(pa.string())  # with its zone, each value would cost 12 microseconds
    return pc.binary_join_element_wise(pc.replace_substring(local, " ", "T"), "Z", "")


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


@contextmanager
def _database_errors_translated(schema: str) -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translated(error) from error
    except ProgrammingError as error:
        if error.sqlstate not in {"42P01", "3F000"}:
            raise
        raise ManifestBroken(f"there is no mart {schema}.{MART}: run stage 4, transform, first") from error
