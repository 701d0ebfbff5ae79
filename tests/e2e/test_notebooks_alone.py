"""Each notebook runs alone, top to bottom, with its defaults, as a person in JupyterLab runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from pipeline_lib.settings import NOTEBOOKS, Settings
from pipeline_lib.stages.chain import STAGES, Stage
from tests.e2e.conftest import Workbench


def run_by_hand(path: Path, home: Path) -> Any:
    """Execute every cell with a plain kernel, widgets included; raises what a cell raises."""
    notebook = nbformat.read(path, as_version=4)
    environment = {**os.environ, "WORKBENCH_HOME": str(home)}
    client = NotebookClient(notebook, timeout=240, skip_cells_with_tag="")
    client.execute(env=environment, cwd=str(NOTEBOOKS))
    return notebook


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.notebook)
def test_a_notebook_runs_alone_on_the_newest_run(
    stage: Stage, workbench: Workbench, completed: dict[str, Any], settings: Settings
) -> None:
    run_by_hand(NOTEBOOKS / stage.notebook, settings.home)
    newest = workbench.json("runs")[0]["pipeline_id"]
    document = workbench.json("show", newest)
    mine = next(each for each in document["stages"] if each["name"] == stage.name)
    assert mine["status"] == "completed"


def test_the_first_notebook_runs_on_an_empty_home(tmp_path: Path) -> None:
    run_by_hand(NOTEBOOKS / STAGES[0].notebook, tmp_path / "home")
    assert list((tmp_path / "home").glob("runs/*/01_generate/records.jsonl"))
