"""P6: resume goes on at the first stage whose result does not verify, and reuses the others."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from harvest.bottle import bottle
from harvest.parameters import BottleParameters, PickParameters, PressParameters
from harvest.pick import FRUIT, pick
from harvest.press import JUICE, press

from tests.faults.bench import Bench
from tests.faults.invariants import check_invariants
from tests.faults.resuming import STAGES, executed, resumed, statuses
from workbench.stage.progress import silent

pytestmark = pytest.mark.promise("P6", "resume goes on at the first stage whose result does not verify, no later")

KILL_POINTS = {
    "cell_started/pick": "pick",
    "notebook_executed/pick": "pick",
    "stage_started/press": "press",
    "manifest_verified/press": "press",
    "stage_completed/bottle": None,
}


@pytest.fixture
def undisturbed(tmp_path: Path) -> bytes:
    """What a run that nothing disturbed leaves, made without the engine."""
    pick(PickParameters(), tmp_path, silent)
    press(PressParameters(), tmp_path / FRUIT, tmp_path, silent)
    bottle(BottleParameters(), tmp_path / JUICE, tmp_path / "bottles.csv", silent)
    return (tmp_path / "bottles.csv").read_bytes()


@pytest.mark.parametrize("failpoint", KILL_POINTS)
def test_a_run_killed_at_any_stage_resumes_to_the_data_of_an_undisturbed_one(
    bench: Bench, undisturbed: bytes, failpoint: str
) -> None:
    run = bench.run(failpoint=f"{failpoint}:SIGKILL")
    assert run.wait(120) == -signal.SIGKILL, run.said()
    last = run.row["event_sequence"]
    again = resumed(run)
    row = check_invariants(again)
    assert row["status"] == "completed", again.said()
    assert Path(row["output_file"]).read_bytes() == undisturbed
    first = KILL_POINTS[failpoint]
    redone = STAGES[STAGES.index(first) :] if first else []
    assert executed(again, after=last) == redone
    assert statuses(bench, run.pipeline_id) == ["completed" if stage in redone else "reused" for stage in STAGES], (
        again.said()
    )


def test_a_run_that_cannot_be_resumed_is_refused_in_one_line(bench: Bench) -> None:
    run = bench.run(failpoint="stage_started/pick:SIGSTOP")
    cases = {run.pipeline_id: "it has not ended", "20260101t000000_abcdef": "unknown", "../etc": "not a run id"}
    for pipeline_id, words in cases.items():
        refused = bench.start("resume", pipeline_id)
        assert refused.wait() == 2, refused.said()
        assert words in refused.said()
        assert len(refused.said().splitlines()) == 1, refused.said()
