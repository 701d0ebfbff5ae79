"""The estimate of a run's time and size: a line through past runs, honest where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.tracking.estimate import PastRun, estimate


def test_without_a_past_run_there_is_no_estimate() -> None:
    assert estimate([], 1_000) is None


def test_start_up_and_work_are_told_apart() -> None:
    past = [PastRun(size, 10 + size / 20_000, 300 * size) for size in (1_000, 10_000, 1_000_000)]
    judged = estimate(past, 100_000)
    assert judged is not None
    assert judged.seconds == pytest.approx(15)
    assert (judged.least, judged.most) == (pytest.approx(15), pytest.approx(15))
    assert judged.bytes == pytest.approx(30_000_000)
    assert judged.runs == 3


def test_runs_of_one_size_leave_open_what_a_larger_one_takes() -> None:
    judged = estimate([PastRun(1_000, 10, 500), PastRun(1_000, 12, 500)], 4_000)
    assert judged is not None
    assert (judged.seconds, judged.bytes) == (11, 2_000)
    assert (judged.least, judged.most) == (10, 48)


@given(
    st.lists(st.builds(PastRun, st.integers(1, 10**8), st.floats(0.1, 10**5), st.integers(1, 10**11)), min_size=1),
    st.integers(1, 10**8),
)
def test_an_estimate_is_never_negative_and_lies_within_its_range(past: list[PastRun], records: int) -> None:
    judged = estimate(past, records)
    assert judged is not None
    assert 0 <= judged.least <= judged.seconds * 1.001
    assert judged.seconds <= judged.most * 1.001
    assert judged.bytes >= 0
