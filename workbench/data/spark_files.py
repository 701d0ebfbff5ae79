"""The Parquet files of stage 3: written by Spark aside, taken over under fixed names, put in place as one folder.

Spark names its parts by a random id and its overwrite deletes first. So it writes into a fresh folder beside the
final one; the parts are then renamed part-00000.parquet … in their order, and the folder takes the old one's place.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from pyspark.errors import AnalysisException
from pyspark.errors.exceptions.connect import SparkConnectGrpcException
from pyspark.sql.connect.client.retries import DefaultPolicy
from pyspark.sql.connect.shell.progress import ProgressHandler, StageInfo

from workbench.base.durable_files import sync
from workbench.base.error_text import one_line
from workbench.base.errors import ServiceUnavailable
from workbench.stage.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.connect.session import SparkSession as ConnectSession

PROCESSED = "processed"
ITEMS = "items"
_RETRIES = 4
_ASIDE = f".{PROCESSED}."
_SHARED = "WORKBENCH_HOME must lie on storage that both the Spark cluster and this machine mount under the same path"


def write_tables(tables: Mapping[str, DataFrame], folder: Path) -> dict[str, int]:
    """Write each table to `folder`/processed/<table>/; return rows by file, relative to `folder`.

    Readers see the whole folder of the earlier attempt or of this one. Raises `ServiceUnavailable` when Spark is gone
    or when what it wrote cannot be seen here, and what the disk raises.
    """
    _remove_leftovers(folder)
    aside = folder.resolve() / f"{_ASIDE}{secrets.token_hex(4)}"
    try:
        for name, table in tables.items():
            with spark_errors_translated(aside):
                table.write.option("compression", "snappy").parquet(str(aside / name))
            _take_over(aside / name)
        _put_in_place(aside, folder / PROCESSED)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return rows_by_file(folder)


def rows_by_file(folder: Path) -> dict[str, int]:
    """Return the rows of each processed file, by its path relative to the stage's folder, sorted."""
    files = sorted((folder / PROCESSED).glob("*/part-*.parquet"))
    return {str(file.relative_to(folder)): pq.read_metadata(file).num_rows for file in files}


def part_files(folder: Path, table: str) -> list[Path]:
    """Return the files of one processed table of a stage's folder, in their order."""
    return sorted((folder / PROCESSED / table).glob("part-*.parquet"))


def limit_retries(spark: SparkSession | ConnectSession) -> None:
    """Make a session give up a lost server after 5 s; by default it retries for ten minutes."""
    spark.client.set_retry_policies([DefaultPolicy(max_retries=_RETRIES)])


@contextmanager
def spark_errors_translated(path: Path) -> Iterator[None]:
    """Translate a lost Spark server, or one that cannot see `path`, into an error of one line."""
    try:
        yield
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        raise ServiceUnavailable(f"Spark cannot see {path}: {_SHARED}") from error
    except SparkConnectGrpcException as error:
        if type(error) is not SparkConnectGrpcException:
            raise
        raise ServiceUnavailable(f"Spark does not answer: {one_line(error)}; `workbench doctor` tells more") from error


def _take_over(written: Path) -> None:
    """Give a table's parts their final names; drop Spark's marker and checksum files. Syncs every part."""
    if not (written / "_SUCCESS").exists():
        raise ServiceUnavailable(f"what Spark wrote to {written} cannot be seen here: {_SHARED}")
    parts = sorted(written.glob("part-*.parquet"))
    for file in set(written.iterdir()) - set(parts):
        file.unlink()
    for number, part in enumerate(parts):
        sync(part.rename(written / f"part-{number:05}.parquet"))
    sync(written)


def _put_in_place(aside: Path, final: Path) -> None:
    replaced = final.with_name(f"{_ASIDE}{secrets.token_hex(4)}")
    if final.exists():
        final.rename(replaced)
    sync(aside)
    aside.rename(final)
    sync(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what an attempt that was killed has left."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(leftover, ignore_errors=True)


class TaskShare(ProgressHandler):
    """Turns Spark's counts of tasks into a count of records that never decreases, though Spark's plan may grow."""

    def __init__(self, rows: int, progress: Progress) -> None:
        self._rows = rows
        self._progress = progress
        self._reported = 0

    def __call__(self, stages: Iterable[StageInfo] | None, *_more: object, **_named: object) -> None:
        known = list(stages or ())
        tasks = sum(stage.num_tasks for stage in known)
        finished = sum(stage.num_completed_tasks for stage in known)
        share = self._rows * finished // tasks if tasks else 0
        if share > self._reported:
            self._reported = share
            self._progress(share, self._rows)


@contextmanager
def watched(spark: SparkSession, rows: int, progress: Progress) -> Iterator[None]:
    """Report the progress of this session's queries; all `rows` are reported only when the block ends without an error.

    When the block is interrupted, so are the session's queries.
    """
    progress(0, rows)
    share = TaskShare(rows, progress)
    spark.registerProgressHandler(share)
    try:
        yield
    except KeyboardInterrupt:
        spark.interruptAll()
        raise
    finally:
        spark.removeProgressHandler(share)
    progress(rows, rows)
