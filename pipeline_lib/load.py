"""Stage 3, second half: the processed Parquet files into the run's own PostgreSQL schema, by COPY.

Rows go into fresh tables under temporary names, several parts at once, each over its own connection. One transaction
then counts them, puts them in the place of what was there before and adds the key. So a repeated attempt loads no row
twice, and readers see the tables before or the new ones, whole.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from pipeline_lib.tables import TABLES, loader_name
from workbench.base.errors import ConservationBroken
from workbench.data.run_schema import schema_creation
from workbench.data.spark_files import ITEMS, PROCESSED, part_files, rows_by_file
from workbench.services.database_errors import DRIVER_ERRORS, translated
from workbench.services.postgres_requirements import loading_connections
from workbench.stage.artefacts import StageResult
from workbench.stage.progress import Progress, silent

_BATCH = 50_000
_MARK = "__loading_"


def load_processed(database_url: str, schema: str, folder: Path, progress: Progress = silent) -> dict[str, int]:
    """Load `folder`/processed into tables processed_items, processed_by_category … of `schema`; return rows by table.

    Raises `ConservationBroken` when a table would not hold exactly the rows of its files, or an id twice;
    `ServiceUnavailable` when the database is out of reach, `StatementFailed` when it gives up a statement.
    """
    expected = {table: _rows_of(folder, table) for table in TABLES}
    loading = {table: f"processed_{table}{_MARK}{secrets.token_hex(4)}" for table in TABLES}
    with _database_errors_told():
        _prepare(database_url, schema, loading)
        _copy_all(database_url, schema, folder, loading, progress)
        _swap(database_url, schema, loading, expected)
    return {f"processed_{table}": rows for table, rows in expected.items()}


def with_loaded(result: StageResult, rows: Mapping[str, int]) -> StageResult:
    """Return the result of processing, with what was loaded. Raises `ConservationBroken` when they differ."""
    processed, loaded = result.counts["processed"], rows[f"processed_{ITEMS}"]
    if processed != loaded:
        raise ConservationBroken(f"{processed:,} records were processed, but {loaded:,} loaded")
    details = {**result.details, "loaded": dict(rows)}
    return replace(result, counts={**result.counts, "loaded": loaded}, details=details)


def _rows_of(folder: Path, table: str) -> int:
    return sum(rows for path, rows in rows_by_file(folder).items() if path.startswith(f"{PROCESSED}/{table}/"))


def _prepare(database_url: str, schema: str, loading: Mapping[str, str]) -> None:
    """End loaders of an attempt that was given up, drop what they left, and create the tables to load into."""
    with _transaction(database_url) as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = %s and datname = current_database() and usename = current_user",
            (loader_name(schema),),
        )
        cursor.execute(schema_creation(schema))
        cursor.execute("select tablename from pg_tables where schemaname = %s", (schema,))
        for (name,) in cursor.fetchall():
            if re.fullmatch(rf"processed_\w+{_MARK}[0-9a-f]{{8}}", name):
                cursor.execute(sql.SQL("drop table {}").format(sql.Identifier(schema, name)))
        for table, name in loading.items():
            cursor.execute(
                sql.SQL("create table {} ({})").format(sql.Identifier(schema, name), sql.SQL(TABLES[table].columns))
            )


def _copy_all(database_url: str, schema: str, folder: Path, loading: Mapping[str, str], progress: Progress) -> None:
    """COPY every part, several at once (`loading_connections`). `progress` is told the records in whole parts."""
    parts = [(name, part) for table, name in loading.items() for part in part_files(folder, table)]
    items = sum(pq.read_metadata(part).num_rows for part in part_files(folder, ITEMS))
    done = 0
    progress(0, items)
    with ThreadPoolExecutor(max_workers=max(1, min(len(parts), loading_connections()))) as pool:
        for (name, _), rows in zip(parts, pool.map(lambda p: _copy_part(database_url, schema, *p), parts), strict=True):
            if name == loading[ITEMS]:
                done += rows
                progress(done, items)


def _copy_part(database_url: str, schema: str, table: str, part: Path) -> int:
    """COPY one Parquet file in batches, in binary; return its rows."""
    with adbc.connect(database_url) as connection, connection.cursor() as cursor, pq.ParquetFile(part) as file:
        cursor.execute("select set_config('application_name', $1, false)", (loader_name(schema),))
        batches = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(_BATCH))
        rows: int = cursor.adbc_ingest(table, batches, mode="append", db_schema_name=schema)
        connection.commit()
    return rows


def _swap(database_url: str, schema: str, loading: Mapping[str, str], expected: Mapping[str, int]) -> None:
    """Count the new tables and put them in place, all in one transaction.

    What hangs on the old tables goes with them: the staging views of stage 4, which has to run again anyway.
    """
    with _transaction(database_url) as cursor:
        for table, name in loading.items():
            new, old = sql.Identifier(schema, name), sql.Identifier(schema, f"processed_{table}")
            _check_count(cursor, new, f"{schema}.processed_{table}", expected[table])
            cursor.execute(sql.SQL("drop table if exists {} cascade").format(old))
            cursor.execute(sql.SQL("alter table {} rename to {}").format(new, sql.Identifier(f"processed_{table}")))
            if TABLES[table].key:
                key = sql.Identifier(TABLES[table].key)
                cursor.execute(sql.SQL("alter table {} add primary key ({})").format(old, key))
            cursor.execute(sql.SQL("analyze {}").format(old))


def _check_count(cursor: Cursor, table: sql.Identifier, name: str, expected: int) -> None:
    cursor.execute(sql.SQL("select count(*) from {}").format(table))
    found = cursor.fetchall()[0][0]
    if found != expected:
        raise ConservationBroken(f"{name} holds {found:,} rows, but {expected:,} were processed")


@contextmanager
def _transaction(database_url: str) -> Iterator[Cursor]:
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        yield cursor


@contextmanager
def _database_errors_told() -> Iterator[None]:
    """Tell a database that is gone, and a key that is not one, in one line; anything else passes as it is."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translated(error) from error
    except psycopg2.errors.UniqueViolation as error:
        raise ConservationBroken(f"a key appears twice: {error.diag.message_detail}") from error
