"""Each notebook runs alone, top to bottom, with its defaults; test_nbval.py executes all of them with their widgets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.e2e.conftest import Workbench
from workbench.base.settings import NOTEBOOKS
from workbench.stage.artefacts import sha256_of
from workbench.stage.pipeline import STAGES

LOOKING_BACK = ("00_workbench.ipynb", "06_compare.ipynb", "07_kpis.ipynb")
NO_TAG = ""


@pytest.fixture(scope="module")
def newest(apart: Workbench) -> dict[str, Any]:
    """The newest run of this module's database: it is small, and completed."""
    run: dict[str, Any] = apart.json("run", "--records", "300", "--defect-rate", "0.05")
    return run


def run_by_hand(path: Path, environment: Mapping[str, str], skipped: str = NO_TAG) -> Any:
    """Execute every cell with a plain kernel, widgets included unless they are skipped; raises what a cell raises."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=240, skip_cells_with_tag=skipped)
    client.execute(env={**os.environ, **environment}, cwd=str(NOTEBOOKS))
    return notebook


def shown_by(notebook: Any, cell_id: str) -> dict[str, Any]:
    """Return the last output of a cell by mime type."""
    cell = next(each for each in notebook.cells if each.id == cell_id)
    data: dict[str, Any] = cell.outputs[-1]["data"]
    return data


@pytest.mark.timeout(900)
@pytest.mark.promise("P20", "a completed run is never changed by hand: the cells work on a copy of it")
def test_the_notebooks_run_one_after_another_on_one_copy_of_the_newest_run(
    apart: Workbench, newest: dict[str, Any]
) -> None:
    files = hashes_of(newest)
    for stage in STAGES[1:]:
        run_by_hand(NOTEBOOKS / stage.notebook, apart.environment)
    assert hashes_of(newest) == files
    copy, shown = apart.json("show"), apart.json("show", newest["pipeline_id"])
    assert (shown["publication"]["status"], copy["publication"]["status"]) == ("superseded", "published")
    assert copy["pipeline_id"] in shown["publication"]["reason"]
    assert {**shown, "publication": None} == {**newest, "publication": None}
    assert (copy["status"], copy["derived_from"]) == ("completed", newest["pipeline_id"])
    assert copy["records"] == newest["records"]
    states = [(stage["status"], stage["interactive"]) for stage in copy["stages"]]
    assert states == [("reused", False), *[("completed", True)] * 4]
    assert 1 < sum(stage["seconds"] for stage in copy["stages"][1:]) <= copy["seconds"]


def hashes_of(run: dict[str, Any]) -> dict[Path, str]:
    """Return the sha256 of every file of a run."""
    folder = Path(run["output_file"]).parent.parent
    return {path: sha256_of(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", LOOKING_BACK)
def test_a_notebook_about_runs_runs_headless(name: str, apart: Workbench, newest: dict[str, Any]) -> None:
    notebook = run_by_hand(NOTEBOOKS / name, apart.environment, "skip-execution")
    assert notebook.cells[-1].cell_type == "markdown" or notebook.cells[-1].outputs


def test_the_first_notebook_runs_on_an_empty_home(tmp_path: Path) -> None:
    run_by_hand(NOTEBOOKS / STAGES[0].notebook, {"WORKBENCH_HOME": str(tmp_path / "home")})
    assert list((tmp_path / "home").glob("runs/*/01_generate/records.jsonl"))


def test_the_workbench_opens_on_an_empty_home(tmp_path: Path) -> None:
    notebook = run_by_hand(NOTEBOOKS / "00_workbench.ipynb", {"WORKBENCH_HOME": str(tmp_path / "home")})
    assert "application/vnd.jupyter.widget-view+json" in shown_by(notebook, "panel")
