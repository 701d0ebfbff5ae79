"""What stages 3 and 5 decide without any service: names, parts, text forms."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.export import iso_8601
from pipeline_lib.process import partitions_for
from workbench.data.spark_files import TaskShare


@pytest.mark.parametrize(
    ("rows", "asked", "parts"),
    [(0, 0, 1), (1, 0, 1), (250_000, 0, 1), (250_001, 0, 2), (10_000_000, 0, 40), (10, 7, 7)],
)
def test_a_part_is_begun_for_every_250_000_records_unless_a_number_is_asked_for(
    rows: int, asked: int, parts: int
) -> None:
    assert partitions_for(rows, asked) == parts


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))
def test_a_moment_is_told_in_iso_8601_with_six_decimals_and_z(moment: datetime) -> None:
    told = iso_8601(pa.array([moment.replace(tzinfo=UTC)], pa.timestamp("us", "UTC")))[0].as_py()
    assert told == moment.isoformat(timespec="microseconds") + "Z"


def test_progress_never_goes_back_when_spark_finds_more_to_do() -> None:
    class Stage:
        def __init__(self, tasks: int, done: int) -> None:
            self.num_tasks, self.num_completed_tasks = tasks, done

    told: list[tuple[int, int | None]] = []
    share = TaskShare(100, lambda done, total: told.append((done, total)))
    for stages in ([], [Stage(2, 1)], [Stage(2, 2), Stage(8, 0)], [Stage(2, 2), Stage(8, 6)]):
        share(stages, inflight_tasks=0, operation_id=None, done=False)
    assert told == [(50, 100), (80, 100)]
