"""P5: a stage can be run again and leaves the same artefacts and rows."""

from __future__ import annotations

import signal

import pytest
from sqlalchemy import text

from tests.faults.bench import Bench, StartedRun, until
from tests.faults.invariants import check_invariants
from tests.faults.resuming import executed
from workbench.run.crash_recovery import look_after
from workbench.stage.artefacts import Manifest, schema_of
from workbench.stage.pipeline import StageName

pytestmark = pytest.mark.promise("P5", "a stage can be run again and leaves the same artefacts and rows")
TABLES = {
    "process": ("processed_items", "processed_by_category", "processed_by_country", "processed_by_day"),
    "transform": ("item_metrics", "category_summary", "country_summary", "daily_summary"),
}


def artefacts(run: StartedRun, stage: StageName) -> dict[str, str]:
    """Return the sha256 of each artefact of the stage, by its path."""
    return {each.path: each.sha256 for each in Manifest.read(run.folder.stage(stage)).artefacts}


def rows(run: StartedRun, stage: StageName) -> dict[str, list[str]]:
    """Return all rows of the stage's tables as text, sorted."""
    query = f"select t::text from {schema_of(run.pipeline_id)}.{{}} t order by 1"
    with run.bench.engine.connect() as connection:
        return {table: list(connection.execute(text(query.format(table))).scalars()) for table in TABLES[stage]}


def test_stages_that_run_again_leave_the_same(bench: Bench, spark_server: str) -> None:
    run = bench.run(failpoint=f"manifest_verified/{'transform'}:SIGKILL")
    assert run.wait() == -signal.SIGKILL, run.said()
    before = {stage: (artefacts(run, stage), rows(run, stage)) for stage in TABLES}
    until(lambda: look_after(bench.engine, bench.settings), "the run is found crashed")
    again = bench.start("resume", run.pipeline_id, "--from", "process")
    assert again.wait() == 0, again.said()
    assert executed(run)[-3:] == ["process", "transform", "export"]
    assert {stage: (artefacts(run, stage), rows(run, stage)) for stage in TABLES} == before
    assert all(all(tables.values()) for _, tables in before.values())
    assert check_invariants(run)["status"] == "completed"
