"""The state machine of runs: its ways, and that its ends are final."""

from __future__ import annotations

import itertools

import pytest

from workbench.base.errors import IllegalTransition
from workbench.state.events import EventType
from workbench.state.states import TERMINAL, RunStatus, StageStatus, check_run_way

ALLOWED = {
    ("pending", "running"), ("pending", "failed"), ("pending", "cancelled"), ("pending", "crashed"),
    ("running", "completed"), ("running", "failed"), ("running", "cancelled"), ("running", "crashed"),
}  # fmt: skip


@pytest.mark.parametrize(("present", "target"), list(itertools.product(RunStatus, RunStatus)))
def test_a_run_goes_the_drawn_ways_and_no_other(present: RunStatus, target: RunStatus) -> None:
    if (present.value, target.value) in ALLOWED:
        check_run_way("a", present, target)
    else:
        with pytest.raises(IllegalTransition, match=f"run a is {present}; it cannot become {target}"):
            check_run_way("a", present, target)


def test_every_end_of_a_run_has_its_event() -> None:
    assert {f"run.{status}" for status in TERMINAL} <= {event.value for event in EventType}


def test_a_stage_knows_every_state_of_a_run_and_two_more() -> None:
    assert {status.value for status in StageStatus} - {status.value for status in RunStatus} == {"reused", "skipped"}
