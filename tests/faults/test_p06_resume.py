"""P6: resume goes on at the first stage whose result does not verify, and reuses the others."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from sqlalchemy import text

from tests.faults.bench import Bench, StartedRun
from tests.faults.invariants import check_invariants
from tests.faults.resuming import CLOCK, STAGES, executed, exported, ledger, resumed, statuses
from tests.faults.workshop import Workshop
from workbench.base.settings import NOTEBOOKS
from workbench.stage.artefacts import schema_of
from workbench.stage.run_parameters import RunParameters

pytestmark = pytest.mark.promise("P6", "resume goes on at the first stage whose result does not verify, no later")

KILL_POINTS = {
    "cell_started/generate": "generate",
    "notebook_executed/ingest": "ingest",
    "stage_started/process": "process",
    "manifest_verified/transform": "transform",
    "stage_completed/export": None,
}


def whole_run(bench: Bench, *options: str) -> StartedRun:
    run = bench.run("--reference-time", CLOCK, *options)
    assert run.wait(120) == 0, run.said()
    return run


def killed(bench: Bench, failpoint: str) -> StartedRun:
    run = bench.run("--reference-time", CLOCK, failpoint=f"{failpoint}:SIGKILL")
    assert run.wait(120) == -signal.SIGKILL, run.said()
    return run


@pytest.fixture(scope="module")
def undisturbed(workshop: Workshop) -> list[dict[str, Any]]:
    """What a run that nothing disturbed has exported."""
    return exported(workshop.work(RunParameters(records=200, seed=7, reference_time=CLOCK), NOTEBOOKS))


@pytest.mark.parametrize("failpoint", KILL_POINTS)
def test_a_run_killed_at_any_stage_resumes_to_the_data_of_an_undisturbed_one(
    bench: Bench, spark_server: str, undisturbed: list[dict[str, Any]], failpoint: str
) -> None:
    run = killed(bench, failpoint)
    last = run.row["event_sequence"]
    again = resumed(run)
    assert check_invariants(again)["status"] == "completed", again.said()
    assert exported(again) == undisturbed
    first = KILL_POINTS[failpoint]
    redone = STAGES[STAGES.index(first) :] if first else []
    assert executed(again, after=last) == redone
    assert statuses(bench, run.pipeline_id) == ["completed" if stage in redone else "reused" for stage in STAGES], (
        again.said()
    )


def test_damage_to_stage_3_has_3_to_5_run_again_and_says_so(bench: Bench, spark_server: str) -> None:
    run = whole_run(bench)
    before, last = exported(run), run.row["event_sequence"]
    part = next((run.folder.stage("process") / "processed" / "items").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    again = resumed(run, "--from", "export")
    check_invariants(again)
    assert exported(again) == before
    assert executed(again, after=last) == ["process", "transform", "export"]
    told = ledger(again)
    assert told["generate"] == ("reused", "verified: 1 artefact")
    assert told["ingest"] == ("reused", "verified: 2 artefacts")
    assert told["process"] == ("completed", f"redone: processed/items/{part.name} differs from its manifest")
    assert told["transform"] == ("completed", "redone: after process")
    assert (run.folder.stage("process") / "notebook.attempt-2.ipynb").exists()
    assert (run.folder.stage("process") / "notebook.ipynb").exists()
    earlier = [
        path for path in again.folder.path.glob("*/report*.html") if "Earlier attempt: " in path.read_text("utf-8")
    ]
    assert sorted(path.parent.name for path in earlier) == ["03_process", "04_transform", "05_export"]
    assert {path.name for path in earlier} == {"report.html"}
    assert again.row["attempt"] == 2


def test_a_lost_mart_is_noticed_and_built_again(bench: Bench, spark_server: str) -> None:
    run = killed(bench, "stage_started/export")
    with bench.engine.begin() as connection:
        connection.execute(text(f"delete from {schema_of(run.pipeline_id)}.daily_summary"))
    again = resumed(run)
    assert check_invariants(again)["status"] == "completed", again.said()
    status, reason = ledger(again)["transform"]
    assert (status, str(reason)[:27]) == ("completed", "redone: table daily_summary")
    assert executed(again) == STAGES


def test_a_run_that_cannot_be_resumed_is_refused_in_one_line(bench: Bench) -> None:
    run = bench.run(failpoint="stage_started/generate:SIGSTOP")
    cases = {run.pipeline_id: "it has not ended", "20260101t000000_abcdef": "unknown", "../etc": "not a run id"}
    for pipeline_id, words in cases.items():
        refused = bench.start("resume", pipeline_id)
        assert refused.wait() == 2, refused.said()
        assert words in refused.said()
        assert len(refused.said().splitlines()) == 1, refused.said()
