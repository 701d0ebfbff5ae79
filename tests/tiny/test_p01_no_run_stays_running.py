"""P1: no run stays `running` longer than two leases after its owner has died, in a stage or before the first one."""

from __future__ import annotations

import pytest

from tests.faults.bench import Bench, until
from tests.faults.invariants import check_invariants
from tests.faults.test_p01_no_run_stays_running import BEFORE_STAGES, IN_A_STAGE, killed_at, seconds_of_lease_left

pytestmark = pytest.mark.promise(
    "P1", "no run stays `running` longer than two leases after its owner has died, even one that never renewed"
)


@pytest.mark.parametrize("failpoint", [*BEFORE_STAGES, *IN_A_STAGE])
def test_a_run_killed_anywhere_is_crashed_once_its_lease_has_run_out(bench: Bench, failpoint: str) -> None:
    run = killed_at(bench, failpoint)
    assert run.row["status"] in ("pending", "running")
    assert seconds_of_lease_left(run) <= bench.settings.workbench_lease_seconds
    until(lambda: seconds_of_lease_left(run) < 0, "the lease runs out")
    assert check_invariants(run)["status"] == "crashed"
