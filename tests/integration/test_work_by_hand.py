"""Stages stepped through by hand: a completed run is never changed, and what is shown is what lies there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.integration.hand_work import RECORDS, finish, made, opened
from workbench.base.errors import LeaseLost, ManifestBroken, RunStateError
from workbench.base.settings import Settings
from workbench.jupyter import interactive_tracking
from workbench.run.completion import verified_manifest
from workbench.run.derived_runs import effect_of
from workbench.stage.artefacts import RunFolder, StageResult, sha256_of
from workbench.stage.pipeline import STAGE_NAMES
from workbench.state import queries
from workbench.state.next_attempt import reopen_run
from workbench.state.run_document import run_document
from workbench.state.runs import claim_run
from workbench.state.states import RunStatus, StageStatus

pytestmark = pytest.mark.promise("P20", "a completed run is never changed by hand: the cells work on a copy of it")
FAILURE = {"name": "X", "message": "it failed"}


def status_of(engine: Engine, pipeline_id: str) -> str:
    return str(queries.run_row(engine, pipeline_id)["status"])


def stages_of(engine: Engine, pipeline_id: str) -> dict[str, str]:
    return {row["name"]: row["status"] for row in queries.stage_rows(engine, pipeline_id)}


def everything_of(engine: Engine, mine: Settings, pipeline_id: str) -> Mapping[str, Any]:
    """Return all that is recorded of a run, what its files hold, and what its tables and readers of analytics hold."""
    folder = RunFolder(mine.home, pipeline_id).path
    files = {str(path): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    with engine.connect() as connection:
        told = [
            connection.execute(text(f"select distinct content from {schema}.{table}")).scalars().all()
            for schema, table in ((f"run_{pipeline_id}", "processed_items"), ("analytics", "item_metrics"))
        ]
    rows = queries.run_row(engine, pipeline_id), queries.stage_rows(engine, pipeline_id)
    return {"rows": rows, "files": files, "tables": told}


def test_a_stage_by_hand_on_the_newest_completed_run_changes_nothing_of_it(
    engine: Engine, mine: Settings, completed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything_of(engine, mine, completed)
    session = opened("process")
    finish(session, "discounts of nought")
    assert everything_of(engine, mine, completed) == before
    copy = run_document(engine, mine, session.pipeline_id)
    assert (copy["derived_from"], copy["status"], copy["trigger"]) == (completed, "pending", "notebook")
    states = [(stage["status"], stage["interactive"]) for stage in copy["stages"]]
    assert states == [("reused", False), ("reused", False), ("completed", True), ("pending", False), ("pending", False)]
    assert f"Run {session.pipeline_id} is open, by hand, a copy of run {completed}" in capsys.readouterr().out
    for stage in STAGE_NAMES[:3]:
        verified_manifest(RunFolder(mine.home, session.pipeline_id), stage)


def test_the_next_notebook_goes_on_with_the_same_copy_to_its_end(
    engine: Engine, mine: Settings, completed: str
) -> None:
    copy = opened("process")
    finish(copy, "other")
    for stage in ("transform", "export"):
        session = opened(stage, export_format="csv")
        assert session.pipeline_id == copy.pipeline_id
        finish(session, "other")
    document = run_document(engine, mine, copy.pipeline_id)
    assert (document["status"], document["derived_from"]) == ("completed", completed)
    assert document["parameters"]["export_format"] == "csv"
    assert Path(document["output_file"]).is_relative_to(RunFolder(mine.home, copy.pipeline_id).path)


@pytest.mark.parametrize("chosen", [True, False], ids=["the completed run chosen", "the default choice"])
def test_all_cells_run_again_and_a_kernel_restarted_land_on_the_same_copy(
    engine: Engine, completed: str, chosen: bool
) -> None:
    given = completed if chosen else ""
    copies = []
    for content in ("first", "second"):
        session = opened("process", given)
        finish(session, content)
        copies.append(session.pipeline_id)
        interactive_tracking.leave()
    left = opened("transform", given)
    assert [*copies, left.pipeline_id] == [copies[0]] * 3
    interactive_tracking.leave()
    assert stages_of(engine, copies[0])["transform"] == "cancelled"
    assert len(queries.key_figures(engine)) == 2


def test_a_cell_run_again_after_its_run_is_completed_is_stopped_before_it_changes_anything(
    engine: Engine, mine: Settings, completed: str
) -> None:
    session = opened("export")
    manifest = finish(session)
    assert status_of(engine, session.pipeline_id) == "completed"
    before = everything_of(engine, mine, session.pipeline_id)
    session.finish(StageResult(manifest.counts, {"made.txt": RECORDS}, {"marts": {}}))
    with pytest.raises(RunStateError, match="is completed and stays as it is"):
        made(session, "after the end")
    assert everything_of(engine, mine, session.pipeline_id) == before


def test_a_stage_opened_again_in_an_open_run_gives_up_its_result_and_all_later_ones(
    engine: Engine, mine: Settings
) -> None:
    run_id = finish(opened("generate")).pipeline_id
    for stage in STAGE_NAMES[1:4]:
        finish(opened(stage, run_id))
    opened("ingest", run_id)
    assert list(stages_of(engine, run_id).values()) == ["completed", "running", "pending", "pending", "pending"]
    document = run_document(engine, mine, run_id)
    assert document["records"] == {**dict.fromkeys(document["records"]), "generated": RECORDS}
    assert document["rejects_file"] is None
    given_up = "given up: ingest was opened by hand"
    assert [stage["reason"] for stage in document["stages"]] == [None, None, given_up, given_up, None]
    assert all(stage["conservation"] == [] for stage in document["stages"])


def test_a_finished_stage_that_is_made_anew_does_not_count_until_it_is_finished_again(
    engine: Engine, mine: Settings
) -> None:
    session = opened("generate")
    finish(session)
    made(session, "again")
    assert stages_of(engine, session.pipeline_id)["generate"] == "running"
    finish(session)
    row = queries.stage_rows(engine, session.pipeline_id)[0]
    assert (row["status"], row["attempt"]) == ("completed", 2)


def test_a_stage_opened_in_two_kernels_belongs_to_the_later_one(engine: Engine, mine: Settings) -> None:
    first = opened("generate")
    second = opened("generate", first.pipeline_id)
    with pytest.raises(LeaseLost, match="opened again elsewhere"):
        made(first, "late")
    finish(second)


def test_a_failed_run_is_worked_on_itself_and_its_later_stages_no_longer_count(
    engine: Engine, mine: Settings, completed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reopen_run(engine, completed, 30, "export")
    run = claim_run(engine, completed, 30)
    run.start()
    run.end_badly(RunStatus.FAILED, FAILURE)
    session = opened("process", completed)
    assert session.pipeline_id == completed
    assert f"`workbench resume {completed}`" in capsys.readouterr().out
    finish(session, "mended")
    assert stages_of(engine, completed)["transform"] == "pending"
    assert status_of(engine, completed) == "failed"
    assert not (RunFolder(mine.home, completed).path / "manifest.json").exists()


def test_a_run_that_a_process_works_is_refused(engine: Engine, mine: Settings, completed: str) -> None:
    reopen_run(engine, completed, 30, "export")
    with pytest.raises(RunStateError, match="elsewhere"):
        opened("process", completed)
    assert "once it has ended" in effect_of(queries.run_row(engine, completed), "process")


@pytest.mark.parametrize("damage", ["file", "table"])
def test_a_damaged_result_is_copied_into_no_run(engine: Engine, mine: Settings, completed: str, damage: str) -> None:
    if damage == "file":
        (RunFolder(mine.home, completed).stage("process") / "made.txt").write_text("edited")
    else:
        with engine.begin() as connection:
            connection.execute(text(f"delete from run_{completed}.processed_items where number = 1"))
    with pytest.raises(ManifestBroken, match=f"`workbench resume {completed} --from process` makes it anew"):
        opened("transform")
    assert len(queries.key_figures(engine)) == 1


@pytest.mark.promise("P20", "times are those of the work, over all attempts")
def test_seconds_by_hand_are_those_from_the_opening_cell_to_the_finishing_one(engine: Engine, mine: Settings) -> None:
    session = opened("generate")
    for stage in STAGE_NAMES:
        session = session if stage == "generate" else opened(stage, session.pipeline_id)
        with engine.begin() as connection:
            earlier = text("update pipeline_stages set started_at = started_at - interval '9 s' where name = :name")
            connection.execute(earlier, {"name": stage})
        finish(session)
    figures = queries.key_figures_of(engine, session.pipeline_id)
    assert all(9 <= seconds < 12 for seconds in figures["stage_seconds"].values())
    assert 45 <= figures["total_seconds"] < 60
    assert run_document(engine, mine, session.pipeline_id)["seconds"] == float(figures["total_seconds"])


@pytest.mark.promise("P20", "a stage that has failed stays failed, with its error, when its kernel is left")
def test_a_stage_by_hand_that_has_failed_stays_failed_when_its_kernel_is_left(engine: Engine, mine: Settings) -> None:
    session = opened("generate")
    session._by_hand.ended(StageStatus.FAILED, "ValueError", "no such product")
    interactive_tracking.leave()
    (stage, *_) = run_document(engine, mine, session.pipeline_id)["stages"]
    assert (stage["status"], stage["error"]["name"]) == ("failed", "ValueError")
    assert "no such product" in stage["error"]["message"]
    ended = [
        event.data["name"]
        for event in queries.events_after(engine, session.pipeline_id)
        if "error" in event.data or "name" in event.data
    ]
    assert ended == ["ValueError"]
    assert float(queries.run_row(engine, session.pipeline_id)["seconds_before"]) > 0
    opened("generate", session.pipeline_id)
    interactive_tracking.leave()
    assert stages_of(engine, session.pipeline_id)["generate"] == "cancelled"
