"""The API's files: reports in a sandbox, executed notebooks and artefacts to download, with ranges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import StageName
from workbench.state import queries
from workbench.web import run_files, schemas
from workbench.web.api import BASE
from workbench.web.dependencies import Context, InContext, RunId, Stage
from workbench.web.problems import problem_responses

# The report's own policy lets two scripts run, by their hashes. This one takes it every origin and the network.
_SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_DATA = "application/octet-stream"
Attempt = Annotated[int | None, Query(ge=1, le=1_000_000, description="the number of the attempt; else the newest")]

router = APIRouter(prefix=BASE, tags=["files"], responses=problem_responses(401, 403, 404, 422, 503))


def _file(media_type: str) -> dict[int | str, dict[str, Any]]:
    content = {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}
    return {200: {"description": "the file", **content}, 206: {"description": "a range of it", **content}}


@router.get("/runs/{pipeline_id}/files")
def list_files(context: InContext, pipeline_id: RunId) -> schemas.FilesPage:
    """List everything of a run that can be fetched."""
    page = schemas.FilesPage(artefacts=[], reports=[], notebooks=[])
    folder = RunFolder(context.settings.home, pipeline_id)
    queries.run_row(context.engine, pipeline_id)
    for stage in (row["name"] for row in queries.stage_rows(context.engine, pipeline_id)):
        href = f"{BASE}/runs/{pipeline_id}/stages/{stage}"
        left = run_files.stage_files(folder, stage, run_files.stage_row(context.engine, pipeline_id, stage))
        page.artefacts += [
            schemas.ArtefactEntry(
                stage=stage,
                name=each.path,
                href=f"{href}/artefacts/{quote(each.path)}",
                **each.model_dump(include={"rows", "bytes", "sha256"}),
            )
            for each in left.artefacts
        ]
        page.reports += [_entry(stage, each, f"{href}/report") for each in left.reports]
        page.notebooks += [_entry(stage, each, f"{href}/notebook") for each in left.notebooks]
    return page


def _entry(stage: StageName, attempt: int, href: str) -> schemas.FileEntry:
    return schemas.FileEntry(stage=stage, attempt=attempt, href=f"{href}?attempt={attempt}")


@router.get("/runs/{pipeline_id}/stages/{stage}/report", response_class=FileResponse, responses=_file("text/html"))
def report(context: InContext, pipeline_id: RunId, stage: Stage, attempt: Attempt = None) -> FileResponse:
    """Show the report of a stage's attempt: its scripts run apart from this page and reach no network."""
    number = run_files.newest(_left(context, pipeline_id, stage).reports, attempt)
    folder = RunFolder(context.settings.home, pipeline_id)
    path = run_files.own_file(folder, stage, run_files.report_path(folder, stage, number))
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": _SANDBOX})


@router.get("/runs/{pipeline_id}/stages/{folder}/{name}.html", include_in_schema=False)
def linked_report(context: InContext, pipeline_id: RunId, folder: str, name: str) -> FileResponse:
    """Show the report that another leads to, by the link that holds on disk: ../03_process/report.attempt-2.html."""
    run = RunFolder(context.settings.home, pipeline_id)
    names = [row["name"] for row in queries.stage_rows(context.engine, pipeline_id)]
    stage = next((each for each in names if run.stage(each).name == folder), None)
    if stage is None:
        raise HTTPException(404, "no stage has such a folder")
    known = {run_files.report_path(run, stage, each).stem: each for each in _left(context, pipeline_id, stage).reports}
    return report(context, pipeline_id, stage, known.get(name, 0))


@router.get("/runs/{pipeline_id}/stages/{stage}/notebook", response_class=FileResponse, responses=_file(_DATA))
def notebook(context: InContext, pipeline_id: RunId, stage: Stage, attempt: Attempt = None) -> FileResponse:
    """Download the executed notebook of a stage's attempt."""
    number = run_files.newest(_left(context, pipeline_id, stage).notebooks, attempt)
    folder = RunFolder(context.settings.home, pipeline_id)
    path = run_files.own_file(folder, stage, run_files.notebook_path(folder, stage, number))
    return _download(path, f"{pipeline_id}_{stage}_{path.name}")


@router.get(
    "/runs/{pipeline_id}/stages/{stage}/artefacts/{name:path}", response_class=FileResponse, responses=_file(_DATA)
)
def artefact(context: InContext, pipeline_id: RunId, stage: Stage, name: str) -> FileResponse:
    """Download an artefact by the name its manifest gives it; ranges are served."""
    folder = RunFolder(context.settings.home, pipeline_id)
    return _download(run_files.artefact_path(context.engine, folder, stage, name))


def _left(context: Context, pipeline_id: str, stage: StageName) -> run_files.StageFiles:
    row = run_files.stage_row(context.engine, pipeline_id, stage)
    return run_files.stage_files(RunFolder(context.settings.home, pipeline_id), stage, row)


def _download(path: Path, name: str | None = None) -> FileResponse:
    return FileResponse(path, media_type=_DATA, filename=name or path.name)
