"""How far Spark is, told in records: the share of its tasks that are done, times the records of the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyspark.sql.connect.shell.progress import ProgressHandler, StageInfo

from workbench.stage.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class TaskShare(ProgressHandler):
    """Turns Spark's reports about tasks into a count of records that never goes back, though Spark's plan may grow."""

    def __init__(self, rows: int, progress: Progress) -> None:
        self._rows = rows
        self._progress = progress
        self._told = 0

    def __call__(self, stages: Iterable[StageInfo] | None, *_more: object, **_named: object) -> None:
        known = list(stages or ())
        tasks = sum(stage.num_tasks for stage in known)
        finished = sum(stage.num_completed_tasks for stage in known)
        share = self._rows * finished // tasks if tasks else 0
        if share > self._told:
            self._told = share
            self._progress(share, self._rows)


@contextmanager
def watched(spark: SparkSession, rows: int, progress: Progress) -> Iterator[None]:
    """Tell `progress` how far this session's queries are; all `rows` are told only when the block ends well.

    When the block is interrupted, so are the session's queries: nothing computes on for nobody.
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
