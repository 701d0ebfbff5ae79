"""P4: a run that is slow but alive is never taken for dead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.faulty_notebooks import with_cell
from tests.faults.invariants import check_invariants
from workbench.run.crash_recovery import look_after

pytestmark = pytest.mark.promise("P4", "a run that is slow but alive is never taken for dead")
BURNERS_PER_CORE = 2
SECONDS = 8
LEASE_SECONDS = 2
SLOW = f"""
import time
until = time.monotonic() + {SECONDS}
while time.monotonic() < until: pass
raise RuntimeError("slept well")
"""


@contextmanager
def every_core_burning() -> Iterator[None]:
    """Keep every core busy with several processes that do nothing else."""
    command = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(command) for _ in range(BURNERS_PER_CORE * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def test_a_run_on_burning_cores_keeps_a_lease_much_shorter_than_itself(bench: Bench, tmp_path: Path) -> None:
    notebooks = with_cell(tmp_path, "pick", SLOW)
    with every_core_burning():
        run = bench.run(WORKBENCH_NOTEBOOKS=str(notebooks), WORKBENCH_LEASE_SECONDS=str(LEASE_SECONDS))
        while run.process.poll() is None:
            assert look_after(bench.engine, bench.settings) == []
    row = check_invariants(run)
    assert (row["status"], row["error"]["value"]) == ("failed", "slept well")
    assert row["finished_at"] - row["started_at"] > row["finished_at"].resolution * SECONDS * 1_000_000
