"""Parquet files of a stage into tables of the run's own PostgreSQL schema, by COPY.

Rows go into fresh tables under temporary names, several parts at once, each over its own connection. One transaction
then counts them, replaces the tables of an earlier attempt and adds the keys. So a repeated attempt loads no row twice,
and readers see all tables of the earlier attempt or all of this one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from workbench.base.errors import ConservationBroken
from workbench.data.run_schema import schema_creation
from workbench.data.spark_files import PROCESSED, part_files, rows_by_file
from workbench.services.database_errors import DRIVER_ERRORS, translated
from workbench.services.postgres_requirements import loading_connections
from workbench.stage.progress import Progress, silent

_BATCH = 50_000
_MARK = "__loading_"


@dataclass(frozen=True)
class Table:
    """`columns` is the SQL of their definitions; `key` the primary key, empty where a key column may be null."""

    columns: str
    key: str


@dataclass(frozen=True)
class TableLoad:
    """What is loaded where: each of `tables` from `folder`/processed/<table> into `schema`.processed_<table>.

    The columns of a table are in the order of its Parquet files. The first table is the one whose rows are progress.
    """

    database_url: str = field(repr=False)
    schema: str
    folder: Path
    tables: Mapping[str, Table]

    def name(self, table: str) -> str:
        """Return the name that the table gets."""
        return f"processed_{table}"

    @property
    def application_name(self) -> str:
        """The name of the run's loaders in pg_stat_activity, of 63 bytes at most."""
        return f"workbench load {self.schema}"[:63]

    def expected(self, table: str) -> int:
        """Return the rows in the files of a table."""
        files = rows_by_file(self.folder).items()
        return sum(rows for path, rows in files if path.startswith(f"{PROCESSED}/{table}/"))


def load_tables(load: TableLoad, progress: Progress = silent) -> dict[str, int]:
    """Load all tables; return their rows by name.

    Raises `ConservationBroken` when a table would not hold exactly the rows of its files, or a key twice;
    `ServiceUnavailable` when the database is out of reach, `StatementFailed` when it gives up a statement.
    """
    expected = {table: load.expected(table) for table in load.tables}
    loading = {table: f"{load.name(table)}{_MARK}{secrets.token_hex(4)}" for table in load.tables}
    with _database_errors_translated():
        _prepare(load, loading)
        _copy_all(load, loading, progress)
        _swap(load, loading, expected)
    return {load.name(table): rows for table, rows in expected.items()}


def _prepare(load: TableLoad, loading: Mapping[str, str]) -> None:
    """End loaders of an attempt that was given up, drop the tables they left, and create the tables to load into."""
    with _transaction(load) as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = %s and datname = current_database() and usename = current_user",
            (load.application_name,),
        )
        cursor.execute(schema_creation(load.schema))
        cursor.execute("select tablename from pg_tables where schemaname = %s", (load.schema,))
        for (name,) in cursor.fetchall():
            if re.fullmatch(rf"processed_\w+{_MARK}[0-9a-f]{{8}}", name):
                cursor.execute(sql.SQL("drop table {}").format(sql.Identifier(load.schema, name)))
        for table, name in loading.items():
            columns = sql.SQL(load.tables[table].columns)
            cursor.execute(sql.SQL("create table {} ({})").format(sql.Identifier(load.schema, name), columns))


def _copy_all(load: TableLoad, loading: Mapping[str, str], progress: Progress) -> None:
    """COPY every part, several at once (`loading_connections`). `progress` counts the rows of whole parts."""
    parts = [(table, part) for table in loading for part in part_files(load.folder, table)]
    counted = next(iter(loading))
    total = sum(pq.read_metadata(part).num_rows for part in part_files(load.folder, counted))
    done = 0
    progress(0, total)
    with ThreadPoolExecutor(max_workers=max(1, min(len(parts), loading_connections()))) as pool:
        copied = pool.map(lambda each: _copy_part(load, loading[each[0]], each[1]), parts)
        for (table, _), rows in zip(parts, copied, strict=True):
            if table == counted:
                done += rows
                progress(done, total)


def _copy_part(load: TableLoad, name: str, part: Path) -> int:
    """COPY one Parquet file in batches, in binary; return its rows."""
    with adbc.connect(load.database_url) as connection, connection.cursor() as cursor, pq.ParquetFile(part) as file:
        cursor.execute("select set_config('application_name', $1, false)", (load.application_name,))
        batches = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(_BATCH))
        rows: int = cursor.adbc_ingest(name, batches, mode="append", db_schema_name=load.schema)
        connection.commit()
    return rows


def _swap(load: TableLoad, loading: Mapping[str, str], expected: Mapping[str, int]) -> None:
    """Count the new tables and put them in place, all in one transaction.

    Views on the old tables are dropped with them: the staging views of dbt, which has to run again anyway.
    """
    with _transaction(load) as cursor:
        for table, loaded in loading.items():
            name, key = load.name(table), load.tables[table].key
            new, old = sql.Identifier(load.schema, loaded), sql.Identifier(load.schema, name)
            _check_count(cursor, new, f"{load.schema}.{name}", expected[table])
            cursor.execute(sql.SQL("drop table if exists {} cascade").format(old))
            cursor.execute(sql.SQL("alter table {} rename to {}").format(new, sql.Identifier(name)))
            if key:
                cursor.execute(sql.SQL("alter table {} add primary key ({})").format(old, sql.Identifier(key)))
            cursor.execute(sql.SQL("analyze {}").format(old))


def _check_count(cursor: Cursor, table: sql.Identifier, name: str, expected: int) -> None:
    cursor.execute(sql.SQL("select count(*) from {}").format(table))
    found = cursor.fetchall()[0][0]
    if found != expected:
        raise ConservationBroken(f"{name} holds {found:,} rows, but {expected:,} were processed")


@contextmanager
def _transaction(load: TableLoad) -> Iterator[Cursor]:
    with closing(psycopg2.connect(load.database_url)) as connection, connection, connection.cursor() as cursor:
        yield cursor


@contextmanager
def _database_errors_translated() -> Iterator[None]:
    """Translate a lost connection and a duplicate key into errors of one line; others pass unchanged."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translated(error) from error
    except psycopg2.errors.UniqueViolation as error:
        raise ConservationBroken(f"a key appears twice: {error.diag.message_detail}") from error
