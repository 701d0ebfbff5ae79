"""A terminal that is closed ends the run that was started in it cleanly."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults.bench import Bench, until
from tests.faults.faulty_notebooks import with_cell
from tests.faults.invariants import check_invariants
from tests.faults.looking import events_of
from tests.faults.terminals import Terminal


@pytest.mark.promise("P23", "pauses and clock jumps kill no living run and hide no result")
def test_a_run_whose_terminal_is_closed_is_cancelled_at_once(bench: Bench, tmp_path: Path) -> None:
    notebooks, terminal = with_cell(tmp_path, "pick", "import time; time.sleep(600)"), Terminal()
    run = bench.run(limits=terminal.attach, WORKBENCH_NOTEBOOKS=str(notebooks), WORKBENCH_LEASE_SECONDS="60")
    until(lambda: _cells_begun(bench.engine, run.pipeline_id) > 2, "the cell sleeps")
    terminal.close()
    assert run.wait(30) == 130, run.said()
    row = check_invariants(run)
    assert row["status"] == "cancelled", row["error"]


def _cells_begun(engine: Engine, pipeline_id: str) -> int:
    return sum(event["type"] == "cell.started" for event in events_of(engine, pipeline_id))
