"""The estimate of a run's time and size: a line through past runs, and the least where none was nearly as large."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.jupyter.panel_view import estimate_html
from workbench.state.run_estimate import PastRun, estimate


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
    judged = estimate([PastRun(1_000, 10, 500), PastRun(1_000, 12, 500)], 2_000)
    assert judged is not None
    assert (judged.seconds, judged.bytes) == (11, 1_000)
    assert (judged.least, judged.most) == (pytest.approx(10), pytest.approx(24))


@pytest.mark.promise("P20", "an estimate rests on evidence, or is left out")
def test_small_runs_tell_nothing_of_a_large_one_but_the_least() -> None:
    """Start-up that once took long is no time per record: 100 to 1,000 records made 10,000 'about 6 min'."""
    past = [PastRun(100, 12, 50_000), PastRun(300, 19, 150_000), PastRun(1_000, 44, 500_000)]
    judged = estimate(past, 10_000)
    assert judged is not None
    assert (judged.seconds, judged.least, judged.most) == (None, 44, None)
    assert judged.bytes == pytest.approx(5_000_000)
    assert "at least 44.0 s" in estimate_html(10_000, judged)
    assert "about" not in estimate_html(10_000, judged)


@pytest.mark.promise("P20", "an estimate rests on evidence, or is left out")
@settings(deadline=None)
@given(st.lists(st.floats(0, 15), min_size=12, max_size=12), st.sampled_from([5_000, 50_000, 500_000]))
def test_an_estimate_is_near_whatever_a_slow_start_adds_to_a_few_runs(late: list[float], records: int) -> None:
    sizes = [100, 100, 300, 1_000, 1_000, 3_000, 10_000, 10_000, 30_000, 100_000, 200_000, 200_000]
    slow = {number: more for number, more in enumerate(late) if number % 4 == 0}  # a quarter of them
    past = [PastRun(size, 15 + size / 20_000 + slow.get(number, 0), size) for number, size in enumerate(sizes)]
    judged = estimate(past, records)
    assert judged is not None
    assert judged.seconds is not None
    assert judged.seconds == pytest.approx(15 + records / 20_000, rel=0.5)


@settings(deadline=None)
@given(
    st.lists(st.builds(PastRun, st.integers(1, 10**8), st.floats(0.1, 10**5), st.integers(1, 10**11)), min_size=1),
    st.integers(1, 10**8),
)
def test_an_estimate_is_never_negative_and_lies_within_its_range(past: list[PastRun], records: int) -> None:
    judged = estimate(past, records)
    assert judged is not None
    assert judged.least >= 0
    assert judged.bytes >= 0
    assert (judged.seconds is None) == (judged.most is None) == (records > 3 * max(run.records for run in past))
    if judged.seconds is not None and judged.most is not None:
        assert judged.least <= judged.seconds * 1.001
        assert judged.seconds <= judged.most * 1.001
