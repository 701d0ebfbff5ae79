"""What is done by hand is what the database says, a cell run twice does no harm, and a failure can be opened again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

from tests.e2e.conftest import Workbench
from tests.e2e.stepping import stepping
from workbench.base.settings import NOTEBOOKS, Settings


def stage_of(workbench: Workbench, run_id: str, name: str) -> dict[str, Any]:
    document = workbench.json("show", run_id)
    return next(stage for stage in document["stages"] if stage["name"] == name)


def test_a_stage_by_hand_is_running_failed_completed_as_its_cells_are(workbench: Workbench, settings: Settings) -> None:
    with stepping(NOTEBOOKS / "01_generate.ipynb", settings.home) as notebook:
        notebook.run("parameters", "open")
        run_id = notebook.pipeline_id
        stage = stage_of(workbench, run_id, "generate")
        assert (stage["status"], stage["interactive"]) == ("running", True)
        notebook.run("write", "write", "evidence", "evidence")
        assert stage_of(workbench, run_id, "generate")["status"] == "completed"
    with stepping(NOTEBOOKS / "02_ingest.ipynb", settings.home) as notebook:
        notebook.client.nb.cells[1].source += f'\npipeline_id = "{run_id}"\nmax_reject_rate = -1.0'
        notebook.run("parameters")
        notebook.client.nb.cells[1].source += "\nmax_reject_rate = 0.1"
        notebook.run("parameters", "open")
        notebook.client.nb.cells.append(nbformat.v4.new_code_cell("1 / 0", id="wrong"))
        assert notebook.run_until_it_fails().id == "wrong"
    ended = stage_of(workbench, run_id, "ingest")
    assert ended["status"] == "completed"
    assert "by hand" in workbench("show", run_id).stdout


def test_a_stage_whose_kernel_is_left_before_its_end_is_cancelled(workbench: Workbench, settings: Settings) -> None:
    with stepping(NOTEBOOKS / "01_generate.ipynb", settings.home) as notebook:
        notebook.run("parameters", "open")
        run_id = notebook.pipeline_id
    assert stage_of(workbench, run_id, "generate")["status"] == "cancelled"


def test_a_cell_that_raises_fails_the_stage_and_finishing_it_mends_it(workbench: Workbench, settings: Settings) -> None:
    with stepping(NOTEBOOKS / "01_generate.ipynb", settings.home) as notebook:
        notebook.client.nb.cells.append(nbformat.v4.new_code_cell("1 / 0", id="wrong"))
        notebook.run("parameters", "open")
        run_id = notebook.pipeline_id
        notebook.client.allow_errors = True
        notebook.run("wrong")
        failed = stage_of(workbench, run_id, "generate")
        assert (failed["status"], failed["error"]["name"]) == ("failed", "ZeroDivisionError")
        notebook.run("write", "evidence")
    assert stage_of(workbench, run_id, "generate")["status"] == "completed"


def test_looking_into_a_completed_run_leaves_it_as_it_is(
    workbench: Workbench, settings: Settings, completed: dict[str, Any]
) -> None:
    run_id = completed["pipeline_id"]
    with stepping(NOTEBOOKS / "02_ingest.ipynb", settings.home) as notebook:
        notebook.client.nb.cells[1].source += f'\npipeline_id = "{run_id}"'
        notebook.run("parameters", "open")
        copy = notebook.pipeline_id
        notebook.run("open")
        assert notebook.pipeline_id == copy != run_id
    assert workbench.json("show", copy)["derived_from"] == run_id
    assert stage_of(workbench, run_id, "ingest")["attempts"] == 1
    assert workbench.json("show", run_id)["status"] == "completed"


def test_the_failing_cell_of_a_failed_run_fails_again_the_same_way(workbench: Workbench, settings: Settings) -> None:
    failed = workbench.json("run", "--records", "300", "--defect-rate", "0.5", code=1)
    error, rejects = failed["error"], Path(failed["rejects_file"]).read_text().splitlines()
    assert (failed["records"]["rejected"], failed["records"]["processed"]) == (len(rejects), None)
    assert workbench.json("runs", "--limit", "1")[0]["records_rejected"] == len(rejects)
    opened = Path(workbench.json("open", failed["pipeline_id"], "ingest")["notebook"])
    with stepping(opened, settings.home) as notebook:
        told, linked = (notebook.client.nb.cells[place].source for place in (0, -2))
        cell = notebook.run_until_it_fails()
    assert f"It ended in cell {error['cell']} of the executed notebook with `TooManyRejects`" in told
    assert "(../notebooks/03_process.ipynb)" in linked
    assert cell.source == error["source"]
    raised = next(output for output in cell.outputs if output["output_type"] == "error")
    assert (raised["ename"], raised["evalue"]) == (error["name"], error["value"])
    assert workbench.json("show", failed["pipeline_id"])["status"] == "failed"
