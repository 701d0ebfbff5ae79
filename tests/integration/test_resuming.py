"""Ended runs opened again, on a real PostgreSQL: who may, who then owns them, and what they forget."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, delete, update

from tests.integration.test_runs import manifest_of, new_run
from workbench.base.errors import LeaseLost, Refused, ResumeRefused, UnknownRun
from workbench.base.settings import Settings
from workbench.run.derived_runs import changeable_run
from workbench.stage.pipeline import PIPELINE, STAGE_NAMES
from workbench.state import queries
from workbench.state.models import Pipeline, PipelineStage
from workbench.state.next_attempt import check_resumable, redo_stages, reopen_run
from workbench.state.run_document import run_document
from workbench.state.runs import OwnedRun, claim_run
from workbench.state.states import RunStatus, StageStatus

ERROR = {"name": "KernelDied", "message": "gone"}


def failed_in_stage_2(engine: Engine) -> OwnedRun:
    run = new_run(engine)
    run.start()
    run.stage_started("generate")
    run.stage_completed("generate", manifest_of(run, "generate", generated=7))
    run.stage_started("ingest")
    run.stage_ended_badly("ingest", StageStatus.FAILED, ERROR)
    run.end_badly(RunStatus.FAILED, ERROR)
    return run


def completed(engine: Engine) -> OwnedRun:
    run = new_run(engine)
    run.start()
    for stage in STAGE_NAMES:
        run.stage_started(stage)
        run.stage_completed(stage, manifest_of(run, stage, **{f"of_{stage}": 1}))
    run.complete("out.json")
    return run


def stages(run: OwnedRun) -> dict[str, tuple[str, str | None]]:
    return {row["name"]: (row["status"], row["reason"]) for row in queries.stage_rows(run.engine, run.pipeline_id)}


def test_a_failed_run_is_pending_again_and_keeps_what_it_completed(engine: Engine) -> None:
    former = failed_in_stage_2(engine)
    run = reopen_run(engine, former.pipeline_id, 30)
    row = queries.run_row(engine, run.pipeline_id)
    assert (row["status"], row["attempt"], row["error"], row["finished_at"]) == ("pending", 2, None, None)
    assert stages(run)["generate"] == ("completed", None)
    assert stages(run)["ingest"] == ("pending", "redone: it had failed")
    assert stages(run)["process"] == ("pending", "not reached before")


def test_former_owners_still_write_nothing(engine: Engine) -> None:
    former = failed_in_stage_2(engine)
    reopen_run(engine, former.pipeline_id, 30)
    with pytest.raises(LeaseLost):
        former.complete(None)
    with pytest.raises(LeaseLost):
        former.renew_lease()


def test_the_next_attempt_is_told_when_the_run_starts(engine: Engine) -> None:
    former = failed_in_stage_2(engine)
    reopen_run(engine, former.pipeline_id, 30)
    run = claim_run(engine, former.pipeline_id, 30)
    run.start()
    last = queries.events_after(engine, run.pipeline_id)[-1]
    assert (last.type, last.data["attempt"], run.attempt) == ("run.started", 2, 2)
    assert run.stage_started("ingest") == 2


def test_only_one_of_many_opens_a_run_again(engine: Engine) -> None:
    former = failed_in_stage_2(engine)

    def reopen(_number: int) -> bool:
        try:
            reopen_run(engine, former.pipeline_id, 30)
        except ResumeRefused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(reopen, range(16))).count(True) == 1
    assert queries.run_row(engine, former.pipeline_id)["attempt"] == 2


def test_a_run_that_is_alive_completed_or_unknown_is_refused(engine: Engine) -> None:
    alive, done = new_run(engine), completed(engine)
    for pipeline_id, words in ((alive.pipeline_id, "has not ended"), (done.pipeline_id, "with --from")):
        with pytest.raises(ResumeRefused, match=words):
            check_resumable(engine, pipeline_id, None)
        with pytest.raises(ResumeRefused, match=words):
            reopen_run(engine, pipeline_id, 30)
    with pytest.raises(UnknownRun) as unknown:
        check_resumable(engine, "20260101t000000_abcdef", None)
    assert isinstance(unknown.value, Refused)


def test_a_completed_run_goes_back_to_the_stage_that_is_named(engine: Engine) -> None:
    run = reopen_run(engine, completed(engine).pipeline_id, 30, "transform")
    assert stages(run)["process"] == ("completed", None)
    assert stages(run)["transform"] == ("pending", "redone: asked for")
    assert stages(run)["export"] == ("pending", "redone: after transform")
    events = queries.events_after(engine, run.pipeline_id)[-2:]
    assert [(event.type, event.stage, event.data["status"]) for event in events] == [
        ("stage.retrying", "transform", "pending"),
        ("stage.retrying", "export", "pending"),
    ]


def test_a_resumed_run_counts_what_its_stages_count_that_are_kept(engine: Engine) -> None:
    former = completed(engine)
    reopen_run(engine, former.pipeline_id, 30, "export")
    run = claim_run(engine, former.pipeline_id, 30)
    run.start()
    redo_stages(run, {"export": "redone: asked for"})
    kept = {f"of_{stage}": 1 for stage in STAGE_NAMES if stage != "export"}
    assert queries.run_row(engine, run.pipeline_id)["counts"] == kept
    redo_stages(run, dict.fromkeys(STAGE_NAMES, "redone: asked for"))
    assert queries.run_row(engine, run.pipeline_id)["counts"] == {}
    run.stage_reused(manifest_of(run, "generate", generated=7), "verified: 0 artefacts")
    assert queries.run_row(engine, run.pipeline_id)["counts"] == {"generated": 7}
    assert stages(run)["generate"] == ("reused", "verified: 0 artefacts")


def without_its_last_stage(run: OwnedRun) -> None:
    """Let the run have been begun by a project that had no stage `export`."""
    former = PIPELINE.snapshot | {"stage": PIPELINE.snapshot["stage"][:4], "compare": [], "conserve": [], "figures": {}}
    with run.engine.begin() as connection:
        connection.execute(update(Pipeline).where(Pipeline.id == run.pipeline_id).values(chain=former))
        last = (PipelineStage.pipeline_id == run.pipeline_id, PipelineStage.name == "export")
        connection.execute(delete(PipelineStage).where(*last))


def test_a_run_of_other_stages_is_shown_but_does_not_go_on(engine: Engine, settings: Settings) -> None:
    former = failed_in_stage_2(engine)
    without_its_last_stage(former)
    document = run_document(engine, settings, former.pipeline_id)
    assert [stage["name"] for stage in document["stages"]] == STAGE_NAMES[:4]
    with pytest.raises(ResumeRefused) as refused:
        reopen_run(engine, former.pipeline_id, 30)
    assert str(refused.value) == (
        f"run {former.pipeline_id} cannot go on: its stages are generate, ingest, process, transform, "
        "the project's are generate, ingest, process, transform, export; start a new run"
    )
    with pytest.raises(ResumeRefused):
        changeable_run(engine, settings, former.pipeline_id, "generate")


def test_a_run_that_goes_on_carries_the_declaration_that_it_goes_on_with(engine: Engine) -> None:
    former = failed_in_stage_2(engine)
    with engine.begin() as connection:
        older = PIPELINE.snapshot | {"title": "as it was"}
        connection.execute(update(Pipeline).where(Pipeline.id == former.pipeline_id).values(chain=older))
    run = reopen_run(engine, former.pipeline_id, 30)
    assert queries.chain_of(queries.run_row(engine, run.pipeline_id)) == PIPELINE
