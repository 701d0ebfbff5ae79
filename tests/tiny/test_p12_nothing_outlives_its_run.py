"""P12: nothing outlives a run whose process is killed, whatever its cells have started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.faulty_notebooks import with_cell
from tests.faults.invariants import SECONDS_AFTER, check_invariants
from tests.faults.test_p12_nothing_outlives_its_run import DAEMONS, KILL_THE_RUN, no_sleepers_left, sleepers
from workbench.run.crash_recovery import look_after

__all__ = ["no_sleepers_left"]
pytestmark = pytest.mark.promise("P12", "nothing outlives its run: process, temporary folder, schema")


def test_a_killed_run_takes_its_kernel_and_all_its_daemons_along(bench: Bench, tmp_path: Path) -> None:
    notebooks = with_cell(tmp_path, "pick", DAEMONS + KILL_THE_RUN)
    run = bench.run(WORKBENCH_NOTEBOOKS=str(notebooks))
    assert run.wait() == -signal.SIGKILL, run.said()
    until(lambda: not sleepers(), "the daemons end", SECONDS_AFTER)
    until(lambda: run.row["status"] == "crashed" or reaped(run), "the run is found crashed")
    check_invariants(run)


def reaped(run: StartedRun) -> bool:
    return bool(look_after(run.bench.engine, run.bench.settings))
