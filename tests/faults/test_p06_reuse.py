"""P6, across runs: `run --reuse` takes over what an earlier run made with equal code, parameters and inputs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.faults.bench import Bench, StartedRun
from tests.faults.invariants import check_invariants
from tests.faults.resuming import STAGES, executed, exported, ledger
from workbench.base.settings import PROJECT
from workbench.stage.artefacts import Manifest, schema_of

pytestmark = pytest.mark.promise("P6", "a result is reused only with equal code, parameters, inputs and environment")
OWN_RECORDS = '{"id": 1, "name": "a", "category": "A", "value": 10.0, "quantity": 2}\n'


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A copy of the project whose code a test may change."""
    for name in ("flows", "pipeline_lib", "workbench", "notebooks", "dbt"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns(".*"))
    shutil.copy(PROJECT / "pipeline.toml", tmp_path)
    return tmp_path


def reusing(bench: Bench, project: Path, *options: str) -> StartedRun:
    run = bench.run("--reuse", *options, project=project)
    assert run.wait(120) == 0, run.said()
    return run


def reused(run: StartedRun) -> list[str]:
    return [stage for stage, (status, _) in ledger(run).items() if status == "reused"]


def test_only_what_has_changed_and_what_follows_runs_again(bench: Bench, spark_server: str, project: Path) -> None:
    first = reusing(bench, project)
    assert executed(first) == STAGES
    clock = first.row["parameters"]["reference_time"]

    same = reusing(bench, project)
    assert (reused(same), executed(same)) == (STAGES[:4], ["export"])
    assert same.row["parameters"]["reference_time"] == clock
    assert ledger(same)["generate"][1] == f"verified: 1 artefact of run {first.pipeline_id}, on its clock {clock}"
    assert "its output names the run" in str(ledger(same)["export"][1])
    assert exported(same) == exported(first)
    check_invariants(same)
    check_independence(bench, first, same)

    model = project / "dbt" / "models" / "marts" / "item_metrics.sql"
    model.write_text(model.read_text() + "-- another word on it\n")
    another_model = reusing(bench, project)
    assert executed(another_model) == ["transform", "export"]
    assert str(ledger(another_model)["transform"][1]).startswith("run: other code than in run ")
    assert exported(another_model) == exported(first)
    check_invariants(another_model)


def check_independence(bench: Bench, origin: StartedRun, run: StartedRun) -> None:
    """What happens to the files and tables of the run that made a result does not reach the run that reused it."""
    manifest = Manifest.read(run.folder.stage("process"))
    assert (manifest.pipeline_id, manifest.reused_from) == (run.pipeline_id, origin.pipeline_id)
    with bench.engine.begin() as connection:
        views = connection.execute(
            text("select count(*) from pg_views where schemaname = :ours and definition like '%' || :theirs || '%'"),
            {"ours": schema_of(run.pipeline_id), "theirs": schema_of(origin.pipeline_id)},
        ).scalar_one()
        items = connection.execute(text(f"select count(*) from {schema_of(run.pipeline_id)}.stg_pipeline__items"))
    assert (views, items.scalar_one()) == (0, 200)


def test_an_own_file_that_changes_is_ingested_again(bench: Bench, project: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(OWN_RECORDS * 2)  # two equal ids: the second is rejected, which ends the run before Spark is needed
    options = ("--reuse", "--input-file", str(own), "--set", "max_reject_rate=0.5")
    failing = {"failpoint": "stage_started/process:SIGKILL", "project": project}
    runs = []
    for content in (OWN_RECORDS * 2, OWN_RECORDS * 2, OWN_RECORDS + OWN_RECORDS.replace("1,", "2,", 1)):
        own.write_text(content)
        runs.append(bench.run(*options, **failing))
        runs[-1].wait(120)
    assert [executed(run) for run in runs] == [["ingest"], [], ["ingest"]]
    assert runs[0].row["parameters"]["reference_time"] == runs[1].row["parameters"]["reference_time"]
    assert str(ledger(runs[2])["ingest"][1]).startswith("run: other parameters and inputs than in run ")


def test_a_result_that_does_not_verify_is_not_reused(bench: Bench, project: Path) -> None:
    failing = {"failpoint": "stage_started/process:SIGKILL", "project": project}
    first = bench.run("--reuse", **failing)
    first.wait(120)
    records = first.folder.stage("generate") / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-1] + b" ")
    second = bench.run("--reuse", **failing)
    second.wait(120)
    assert executed(second) == ["generate"]  # made anew; the dataset made of equal bytes is whole
    assert "no whole result is left" in str(ledger(second)["generate"][1])


def test_without_the_wish_nothing_is_reused(bench: Bench, project: Path) -> None:
    failing = {"failpoint": "stage_started/ingest:SIGKILL", "project": project}
    clock = ("--reference-time", "2026-11-01T12:00:00")
    runs = [bench.run(*clock, **failing) for _ in range(2)]
    for run in runs:
        run.wait(120)
    assert [executed(run) for run in runs] == [["generate"], ["generate"]]
