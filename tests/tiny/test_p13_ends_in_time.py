"""P13: a person ends a run, by signal or from another terminal, whatever its kernel does."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.faulty_notebooks import with_cell
from tests.faults.invariants import check_invariants
from tests.faults.looking import events_of
from workbench.notebook.report import head_of

pytestmark = pytest.mark.promise("P13", "a deadline, or a person, ends kernel, Spark job and dbt")
SLEEP = "import time; time.sleep(600)"
STUBBORN = """
import time
while True:
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        pass
"""


def in_faulty_cell(run: StartedRun, source_head: str) -> bool:
    """Tell whether the run's kernel works on the cell whose source begins so."""
    started = [event for event in events_of(run.bench.engine, run.pipeline_id) if event["type"] == "cell.started"]
    return bool(started) and started[-1]["data"]["source"].startswith(source_head)


def sleeping_run(bench: Bench, folder: Path, code: str) -> StartedRun:
    """Return a run that will stay in a cell of stage 1 until it is told otherwise."""
    run = bench.run(WORKBENCH_NOTEBOOKS=str(with_cell(folder, "pick", code)))
    until(lambda: in_faulty_cell(run, head_of(code)), "the cell runs")
    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_a_run_cleanly(bench: Bench, tmp_path: Path, number: signal.Signals) -> None:
    run = sleeping_run(bench, tmp_path, SLEEP)
    run.signal(number)
    assert run.wait() == 130, run.said()
    row = check_invariants(run)
    assert (row["status"], row["error"]["source"], row["error"]["exception"]) == ("cancelled", SLEEP, "Cancelled")
    assert "KeyboardInterrupt" in row["error"]["traceback"]


def test_a_second_signal_ends_even_a_cell_that_ignores_the_first(bench: Bench, tmp_path: Path) -> None:
    run = sleeping_run(bench, tmp_path, STUBBORN)
    run.signal(signal.SIGINT)
    time.sleep(0.5)  # two signals at the same moment would count as one
    run.signal(signal.SIGINT)
    assert run.wait() == 130, run.said()
    row = check_invariants(run)
    assert (row["status"], row["error"]["kernel"]["signal"]) == ("cancelled", "SIGKILL")


def test_a_run_is_cancelled_from_another_terminal(bench: Bench, tmp_path: Path) -> None:
    run = sleeping_run(bench, tmp_path, SLEEP)
    assert bench.start("cancel", run.pipeline_id).wait() == 0
    assert run.wait() == 130, run.said()
    assert check_invariants(run)["status"] == "cancelled"


@pytest.mark.parametrize("place", ["run_created", "run_started"])
def test_a_signal_before_the_first_stage_cancels_too(bench: Bench, place: str) -> None:
    run = bench.run(failpoint=f"{place}:SIGTERM")
    assert run.wait() == 130, run.said()
    assert check_invariants(run)["status"] == "cancelled"
