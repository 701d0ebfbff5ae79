"""The pages one reads: start, runs, a run, a stage's outputs, a comparison. Handlers parse, call, render."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from workbench.base.run_id import checked_run_id
from workbench.charts.figures import errors_of_runs, records_of_runs, runs_and_success, stage_times
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import STAGE_NAMES, StageName
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.run_snapshot import read_run
from workbench.state.states import RunStatus
from workbench.web import run_files
from workbench.web.api import compared
from workbench.web.channels import PAGE, Stream
from workbench.web.dependencies import Context, InContext, RunId, Stage
from workbench.web.run_files import output_cells
from workbench.web.run_form import form_groups
from workbench.web.run_view import run_view

_PAGE_LENGTH = 25
_DRAWN = 60
router = APIRouter(include_in_schema=False)


@router.get("/")
def start(request: Request, context: InContext) -> HTMLResponse:
    """Show the form that starts a run, and the newest runs."""
    return start_page(request, context, {}, {}, 200)


def start_page(
    request: Request, context: Context, given: dict[str, str], problems: dict[str, str], status: int
) -> HTMLResponse:
    """Render the form with what was given, and beside each field why it was refused."""
    values: dict[str, Any] = {
        "stages": STAGE_NAMES,
        "groups": form_groups(RunParameters, given, problems),
        "problems": problems,
        "key": given.get("idempotency_key") or secrets.token_urlsafe(16),
        "trouble": context.trouble(),
        "runs": queries.key_figures(context.engine, 5),
    }
    return context.render(request, "start.html", values, status)


@router.get("/runs")
def runs(
    request: Request,
    context: InContext,
    before: Annotated[str, Query()] = "",
    status: Annotated[str, Query()] = "",
) -> HTMLResponse:
    """Show runs, newest first, with their key figures."""
    chosen = status if status in list(RunStatus) else None
    older = checked_run_id(before) if before else None
    rows = queries.key_figures_before(context.engine, older, chosen, _PAGE_LENGTH + 1)
    figures = queries.key_figures(context.engine, _DRAWN)
    values = {
        "runs": rows[:_PAGE_LENGTH],
        "older": rows[_PAGE_LENGTH - 1]["pipeline_id"] if len(rows) > _PAGE_LENGTH else None,
        "is_first": older is None,
        "chosen": chosen or "",
        "statuses": [str(each) for each in RunStatus],
        "charts": _charts(figures),
    }
    return context.render(request, "runs.html", values)


def _charts(rows: list[dict[str, Any]]) -> list[tuple[Any, str]]:
    completed = sum(row["status"] == RunStatus.COMPLETED for row in rows)
    ended = sum(row["finished_at"] is not None for row in rows)
    processed = sum(row["records_processed"] or 0 for row in rows)
    errors = sum(int(row["error_count"]) for row in rows)
    return [
        (runs_and_success(rows), f"{completed} of the newest {ended} ended runs completed."),
        (stage_times(rows), "Seconds that each run spent in each stage, oldest to newest."),
        (records_of_runs(rows), f"These runs processed {processed:,} records."),
        (errors_of_runs(rows), f"In these runs {errors} stage{'' if errors == 1 else 's'} ended badly."),
    ]


@router.get("/runs/{pipeline_id}")
def run(request: Request, context: InContext, pipeline_id: RunId) -> HTMLResponse:
    """Show a run as it is now; the page's script keeps it so."""
    view = run_view(context.settings, read_run(context.engine, context.settings, pipeline_id))
    others = [row for row in queries.key_figures(context.engine, 50) if row["pipeline_id"] != pipeline_id]
    return context.render(request, "run.html", {"run": view, "others": others})


@router.get("/runs/{pipeline_id}/live")
async def run_live(context: InContext, pipeline_id: RunId) -> Response:
    """Send the parts of a run's page whenever they change."""
    await run_in_threadpool(queries.run_row, context.engine, pipeline_id)
    return Stream(context.live.watch(PAGE, pipeline_id, 0))


@router.get("/runs/{pipeline_id}/stages/{stage}")
def stage(
    request: Request,
    context: InContext,
    pipeline_id: RunId,
    stage: Stage,
    attempt: Annotated[int | None, Query(ge=1, le=1_000_000)] = None,
) -> HTMLResponse:
    """Show what a stage's notebook shows so far."""
    row = run_files.stage_row(context.engine, pipeline_id, stage)
    folder = RunFolder(context.settings.home, pipeline_id)
    left = run_files.stage_files(folder, stage, row)
    values = {
        "pipeline_id": pipeline_id,
        "stage": stage,
        "title": folder.chain.title_of(stage),
        "row": row,
        "attempt": attempt or row["attempt"],
        "left": left,
        "cells": _cells(context, pipeline_id, stage, attempt or row["attempt"]),
    }
    return context.render(request, "stage.html", values)


def _cells(context: Context, pipeline_id: str, stage: StageName, attempt: int) -> list[Any]:
    folder = RunFolder(context.settings.home, pipeline_id)
    path = run_files.notebook_path(folder, stage, attempt)
    if not path.exists():
        return []
    try:
        return list(output_cells(run_files.own_file(folder, stage, path)))
    except (OSError, ValueError) as error:
        raise HTTPException(404, f"the executed notebook cannot be read ({type(error).__name__})") from error


@router.get("/compare")
def compare(request: Request, context: InContext, a: str = "", b: str = "") -> HTMLResponse:
    """Show how run b differs from run a."""
    return context.render(request, "compare.html", {"a": a, "b": b, "found": compared(context, a, b)})
