"""`workbench open` copies a stage's notebook from the folder that WORKBENCH_NOTEBOOKS names."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell
from sqlalchemy import Engine

from tests.web.by_hand import Worker
from workbench.base.settings import NOTEBOOKS, Settings
from workbench.run.debug_copy import open_copy
from workbench.stage.pipeline import stage_named


def test_the_copy_is_made_of_the_notebook_in_the_folder_of_the_setting(engine: Engine, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, workbench_home=tmp_path / "home", workbench_notebooks=tmp_path)
    name = stage_named("ingest").notebook
    mine = nbformat.read(NOTEBOOKS / name, as_version=4)
    mine.cells.append(new_code_cell("# a rule of my own"))
    nbformat.write(mine, tmp_path / name)
    run = Worker(engine, settings).failed("ingest").pipeline_id

    copy = nbformat.read(open_copy(engine, settings, run, "ingest", tmp_path / "opened"), as_version=4)

    assert copy.cells[-1].source == "# a rule of my own"
    assert run in copy.cells[0].source
