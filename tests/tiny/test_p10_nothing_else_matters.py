"""P10: what Prefect has missed of a run, because the run died, the next run tells it."""

from __future__ import annotations

import pytest

from tests.faults.bench import Bench, until
from tests.faults.stories import prefect_problems
from workbench.run.crash_recovery import look_after

pytestmark = pytest.mark.promise("P10", "broker, agent or Prefect lost never changes a run's outcome")


def test_the_next_run_tells_prefect_how_the_last_one_ended(bench: Bench) -> None:
    last = bench.run(failpoint="stage_started/pick:SIGKILL")
    last.wait()
    until(lambda: look_after(bench.engine, bench.settings), "the run is found crashed")
    assert prefect_problems(bench, last.row) == ["Prefect says running, the table crashed"]
    bench.run(failpoint="stage_started/press:SIGKILL").wait()
    until(lambda: not prefect_problems(bench, last.row), "Prefect knows", 10)
