"""P5: what may end otherwise is tried again, what cannot is not, and each attempt keeps its own notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest

from tests.faults.cut_sessions import sessions_cut
from tests.faults.faulty_notebooks import with_cell, with_last_cell
from tests.faults.looking import events_of
from tests.faults.workshop import WorkedRun, Workshop
from workbench.base.settings import NOTEBOOKS, Settings
from workbench.notebook.attempt_files import notebook_of
from workbench.run.lifecycle import execute_with_retries
from workbench.run.resources import acquired
from workbench.services.service_file import read_live_state, service_folder
from workbench.stage.pipeline import StageName
from workbench.stage.run_parameters import RunParameters

pytestmark = pytest.mark.promise("P5", "what may end otherwise is tried again, and each attempt keeps its own notebook")

ONCE = """
import pathlib
marker = pathlib.Path({marker!r})
first = not marker.exists()
marker.touch()
if first:
    {fault}
"""
KILL_KERNEL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
SPOIL_A_CATEGORY = """import psycopg2
    with psycopg2.connect(stage.database_url) as connection:
        connection.cursor().execute(f"update {stage.schema}.processed_items set category = 'Z' where id = 0")"""
LOSE_A_RECORD = """
from dataclasses import replace
manifest = stage.finish(replace(result, counts={**result.counts, "ingested": result.counts["ingested"] - 1}))
"""


def once(folder: Path, stage: StageName, fault: str) -> Path:
    """Return notebooks, in `folder`, of which this stage's meets a fault in its first attempt and in none later."""
    return with_cell(folder, stage, once_only(folder / f"{stage}.met", fault))


def once_only(marker: Path, fault: str) -> str:
    return ONCE.format(marker=str(marker), fault=fault)


def work(workshop: Workshop, parameters: RunParameters, notebooks: Path) -> WorkedRun:
    """Work a new run to its end, with retries."""
    return workshop.work(parameters, notebooks, execute=execute_with_retries)


def check_retried(run: WorkedRun, stage: StageName, errors: list[str]) -> None:
    """One attempt after the other ended with these errors and kept its notebook, and one more completed."""
    folder, last = run.folder.stage(stage), len(errors) + 1
    assert run.stage(stage)["attempt"] == last
    ends = [nbformat.read(notebook_of(folder, attempt), 4).metadata.workbench for attempt in range(1, last + 1)]
    assert [end.error.exception for end in ends[:-1]] == errors
    assert {end.status for end in ends[:-1]} <= {"failed", "killed"}
    assert ends[-1].status == "completed"
    assert {"report.html", f"report.attempt-{last}.html"} <= {path.name for path in folder.iterdir()}
    types = [event["type"] for event in events_of(run.bench.engine, run.pipeline_id) if event["stage"] == stage]
    told = [kind for kind in types if kind.startswith("stage.")]
    assert told == ["stage.started", "stage.failed", "stage.retrying"] * len(errors) + [
        "stage.started",
        "stage.completed",
    ]


@pytest.fixture
def own_spark(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A Spark server that may be killed: no other test uses it."""
    home = tmp_path_factory.mktemp("spark-home")
    given = workshop.resources.settings
    settings = Settings(_env_file=None, database_url=given.database_url, workbench_home=home)
    with acquired(settings) as resources:
        yield Workshop(resources)


def test_killed_kernels_and_lost_connections_are_worth_another_attempt(workshop: Workshop, tmp_path: Path) -> None:
    with sessions_cut(workshop.resources.engine, row=100):
        run = work(workshop, RunParameters(records=200), once(tmp_path, "ingest", KILL_KERNEL))
    assert run.row["status"] == "completed", run.row["error"]
    run.check()
    check_retried(run, "ingest", ["KernelDied"])
    check_retried(run, "process", ["ServiceUnavailable"])
    check_retried(run, "transform", ["ServiceUnavailable"])
    assert run.stage("process")["counts"]["loaded"] == 200


def test_a_killed_spark_server_is_worth_another_attempt(own_spark: Workshop, tmp_path: Path) -> None:
    own_spark.resources.spark.new_session()
    first = spark_of(own_spark)
    once(tmp_path, "process", f"import os, signal; os.kill({first}, signal.SIGKILL)")
    run = work(own_spark, RunParameters(records=200), with_cell(tmp_path, "transform", "raise Exception('far')"))
    run.check()
    check_retried(run, "process", ["ServiceUnavailable"])
    assert run.row["error"]["value"] == "far"
    again = spark_of(own_spark)
    assert again != first
    assert psutil.pid_exists(again)


def spark_of(workshop: Workshop) -> int:
    """Return the process id of the workshop's Spark server."""
    state = read_live_state(service_folder(workshop.resources.settings.home, "spark"))
    assert state is not None
    return state.service or 0


def ran_once(run: WorkedRun, stage: StageName, error: str) -> bool:
    run.check()
    types = {event["type"] for event in events_of(run.bench.engine, run.pipeline_id)}
    found = run.stage(stage)["error"]["name"], run.stage(stage)["attempt"], run.row["status"]
    return found == (error, 1, "failed") and "stage.retrying" not in types


def test_an_empty_input_is_read_once(workshop: Workshop, tmp_path: Path) -> None:
    empty = tmp_path / "empty.json"
    empty.write_text("")
    assert ran_once(work(workshop, RunParameters(input_file=str(empty)), NOTEBOOKS), "ingest", "InputEmpty")


def test_too_many_rejects_are_counted_once(workshop: Workshop) -> None:
    run = work(workshop, RunParameters(records=200, defect_rate=0.5), NOTEBOOKS)
    assert ran_once(run, "ingest", "TooManyRejects")


def test_records_that_are_lost_are_not_looked_for_again(workshop: Workshop, tmp_path: Path) -> None:
    notebooks = with_last_cell(tmp_path / "notebooks", "ingest", LOSE_A_RECORD)
    assert ran_once(work(workshop, RunParameters(records=200), notebooks), "ingest", "ConservationBroken")


def test_a_failing_test_of_dbt_is_run_once(workshop: Workshop, tmp_path: Path) -> None:
    run = work(workshop, RunParameters(records=200), once(tmp_path, "transform", SPOIL_A_CATEGORY))
    assert ran_once(run, "transform", "ModelTestFailed")
