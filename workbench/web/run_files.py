"""The files a run has left, found by run, stage and manifest alone: no path is ever made from text of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from markupsafe import Markup
from sqlalchemy import Engine
from starlette.exceptions import HTTPException

from workbench.notebook.attempt_files import notebook_of, report_of
from workbench.notebook.report import head_of
from workbench.notebook.report_outputs import OutputRenderer, code_html, text_html
from workbench.stage.artefacts import Artefact, Manifest, RunFolder
from workbench.stage.pipeline import StageName
from workbench.state import queries

_NOT_THERE = "there is no such file, or it is no longer there"
_QUIET = ("not_run", "running", "")


@dataclass(frozen=True)
class StageFiles:
    """What a stage has left. `reports` and `notebooks` are the numbers of the attempts that have one, from 1."""

    artefacts: tuple[Artefact, ...]
    reports: list[int]
    notebooks: list[int]


def stage_files(folder: RunFolder, stage: StageName, row: Mapping[str, Any]) -> StageFiles:
    """Return what is there of a stage whose row this is."""
    attempts = range(1, int(row["attempt"]) + 1)
    return StageFiles(
        artefacts=Manifest.model_validate(row["manifest"]).artefacts if row["manifest"] else (),
        reports=[each for each in attempts if report_path(folder, stage, each).is_file()],
        notebooks=[each for each in attempts if notebook_path(folder, stage, each).is_file()],
    )


def report_path(folder: RunFolder, stage: StageName, attempt: int) -> Path:
    """Return where the report of an attempt lies, from 1."""
    return report_of(notebook_path(folder, stage, attempt))


def notebook_path(folder: RunFolder, stage: StageName, attempt: int) -> Path:
    """Return where the executed notebook of an attempt lies, from 1."""
    return notebook_of(folder.stage(stage), attempt)


def stage_row(engine: Engine, pipeline_id: str, stage: StageName) -> Mapping[str, Any]:
    """Return a stage's row; raises `UnknownRun`, and 404 for a stage that the run does not have."""
    queries.run_row(engine, pipeline_id)
    found = next((row for row in queries.stage_rows(engine, pipeline_id) if row["name"] == stage), None)
    if found is None:
        raise HTTPException(404, f"there is no stage {stage[:60]!r}")
    return found


def artefact_path(engine: Engine, folder: RunFolder, stage: StageName, name: str) -> Path:
    """Return the file of an artefact that the stage's manifest names exactly so; raises 404."""
    row = stage_row(engine, folder.pipeline_id, stage)
    known = Manifest.model_validate(row["manifest"]).artefacts if row["manifest"] else ()
    if name not in {artefact.path for artefact in known}:
        raise HTTPException(404, _NOT_THERE)
    return own_file(folder, stage, folder.stage(stage) / name)


def own_file(folder: RunFolder, stage: StageName, path: Path) -> Path:
    """Return `path` if it is a file inside the stage's folder and no link leads elsewhere; raises 404."""
    inside = folder.path.parent.resolve() / folder.pipeline_id / folder.stage(stage).name
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise HTTPException(404, _NOT_THERE) from error
    if real != inside / path.relative_to(folder.stage(stage)) or not real.is_file():
        raise HTTPException(404, _NOT_THERE)
    return real


def newest(attempts: list[int], wanted: int | None) -> int:
    """Return the wanted attempt, or the newest; raises 404 when it has left nothing."""
    attempt = wanted if wanted is not None else max(attempts, default=0)
    if attempt not in attempts:
        raise HTTPException(404, _NOT_THERE)
    return attempt


@dataclass(frozen=True)
class OutputCell:
    """One cell with what it shows; `text` for prose, else `code`."""

    number: int
    status: str = ""
    seconds: float | None = None
    head: str = ""
    text: Markup | None = None
    code: Markup | None = None
    outputs: tuple[Markup, ...] = ()


def output_cells(path: Path) -> list[OutputCell]:
    """Return the cells of an executed notebook, sanitised like its report; raises `OSError` and `ValueError`."""
    notebook = nbformat.reads(path.read_text("utf-8"), as_version=4)
    renderer = OutputRenderer()
    return [_cell(number, cell, renderer) for number, cell in enumerate(notebook.cells, 1) if cell.source.strip()]


def _cell(number: int, cell: Any, renderer: OutputRenderer) -> OutputCell:
    if cell.cell_type != "code":
        return OutputCell(number, text=text_html(cell.source))
    record = cell.metadata.get("workbench", {})
    status = str(record.get("status", ""))
    return OutputCell(
        number=number,
        status=status,
        seconds=None if status in _QUIET else record.get("seconds"),
        head=head_of(cell.source),
        code=code_html(cell.source),
        outputs=tuple(renderer.render(output) for output in cell.outputs),
    )
