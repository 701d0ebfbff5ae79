"""P6: resume goes on at the first stage whose result does not verify, and reuses the others."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import text

from tests.faults.bench import Bench, StartedRun
from tests.faults.invariants import check_invariants
from tests.faults.resuming import CLOCK, STAGES, executed, exported, ledger, resumed
from workbench.stage.artefacts import schema_of

pytestmark = pytest.mark.promise("P6", "resume goes on at the first stage whose result does not verify, no later")


def whole_run(bench: Bench, *options: str) -> StartedRun:
    run = bench.run("--reference-time", CLOCK, *options)
    assert run.wait(120) == 0, run.said()
    return run


def killed(bench: Bench, failpoint: str) -> StartedRun:
    run = bench.run("--reference-time", CLOCK, failpoint=f"{failpoint}:SIGKILL")
    assert run.wait(120) == -signal.SIGKILL, run.said()
    return run


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
