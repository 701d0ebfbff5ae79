"""Makes a copy of a stage's notebook that a person steps through in place of the run that executed it."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell
from sqlalchemy import Engine

from workbench.base.durable_files import written_whole
from workbench.base.settings import Settings
from workbench.notebook.injection import inject, read_notebook
from workbench.run.derived_runs import effect_of
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import StageName, stage_named
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries

_LINK = re.compile(r"\]\(([0-9]{2}_\w+\.ipynb)\)")


def open_copy(engine: Engine, settings: Settings, pipeline_id: str, stage: StageName, folder: Path) -> Path:
    """Write the stage's notebook with this run's parameters injected into `folder` and return its path.

    Of a run that has failed it works on its own folder and schema, so a cell that failed fails again, and one that is
    fixed leaves the result from which `workbench resume` continues; of a completed run, on a copy (see `effect_of`).
    An older notebook of the same run and stage is replaced. Raises `UnknownRun`.
    """
    run, chosen = queries.run_row(engine, pipeline_id), stage_named(stage)
    parameters = RunParameters.trusted(run["parameters"]).for_stage(stage).model_dump()
    notebook = inject(read_notebook(settings.notebooks / chosen.notebook), {"pipeline_id": pipeline_id, **parameters})
    row = next(each for each in queries.stage_rows(engine, pipeline_id) if each["name"] == stage)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _LINK.sub(r"](../notebooks/\1)", cell.source)
    notebook.cells.insert(0, new_markdown_cell(_about(run, row), id="opened"))
    notebook.metadata.pop("papermill", None)
    target = folder / f"{RunFolder(folder, pipeline_id).stage(stage).name}_of_{pipeline_id}.ipynb"
    with written_whole(target) as file:
        file.write(nbformat.writes(notebook, version=4).encode())
    return target


def _about(run: queries.Row, stage: queries.Row) -> str:
    pipeline_id, error = run["id"], stage["error"] or {}
    lines = [
        f"> **A copy to step through.** Run `{pipeline_id}`, stage {stage['name']}, which is {stage['status']}.",
        f"> Its parameters are injected below. {effect_of(run, stage['name'])}",
    ]
    if error:
        where = f" in cell {error['cell']} of the executed notebook" if error.get("cell") else ""
        lines.append(f">\n> It ended{where} with `{error['name']}`. Run all cells to see it end so again;")
        lines.append(f"> once it is fixed, `workbench resume {pipeline_id}` continues from here.")
    return "\n".join(lines)
