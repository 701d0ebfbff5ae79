"""The API: create, list, show, follow, cancel, resume and compare runs. Handlers parse, call, answer."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from workbench.base.errors import IllegalTransition
from workbench.base.run_id import checked_run_id
from workbench.run.comparison import compare_runs
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.events import event_document
from workbench.state.run_document import run_document
from workbench.state.states import RunStatus
from workbench.web import schemas
from workbench.web.channels import EVENTS, Stream, wants_stream
from workbench.web.dependencies import Context, InContext, RunId, context_of
from workbench.web.problems import FieldProblem, FieldsRefused, problem_responses
from workbench.web.run_form import with_readable_input

BASE = "/api/v1"
_PAGE = 500
_SEQUENCE = re.compile("[0-9]{1,18}")
IdempotencyKey = Annotated[
    str | None,
    Header(pattern=r"^[\x21-\x7e]{1,200}$", description="repeats of a request with the same key make one run"),
]
router = APIRouter(prefix=BASE, responses=problem_responses(401, 403, 404, 422, 503))
health_router = APIRouter(prefix=BASE, tags=["health"])
_OK = "ok"


def meant(request: Request) -> None:
    """Let a change through only as JSON and with the token: no foreign page can send either."""
    context = context_of(request)
    if not context.access.has_token(request):
        how = "changes want the page's token, which `workbench web` prints: Authorization: Bearer …"
        raise HTTPException(401, how, {"WWW-Authenticate": "Bearer"})
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")


_changes = APIRouter(dependencies=[Depends(meant)], responses=problem_responses(400, 409, 413, 415, 429))


@_changes.post("/runs", status_code=202, tags=["runs"])
def create_run(
    context: InContext, response: Response, parameters: RunParameters, idempotency_key: IdempotencyKey = None
) -> schemas.RunAccepted:
    """Record a run and request its execution; returns when the run is recorded."""
    parameters = with_readable_input(parameters)
    context.take_start(idempotency_key)
    pipeline_id = started(context, parameters, idempotency_key)
    response.headers["Location"] = f"{BASE}/runs/{pipeline_id}"
    return _accepted(pipeline_id)


def started(context: Context, parameters: RunParameters, key: str | None) -> str:
    """Trigger a run; raises `FieldsRefused` when the key already belongs to a run with other parameters."""
    pipeline_id = context.actions.trigger(parameters, key)
    if key is not None:
        stored = queries.run_row(context.engine, pipeline_id)["parameters"]
        unset = set() if parameters.reference_time else {"reference_time"}
        asked = parameters.model_dump(mode="json", exclude=unset)
        if asked != {name: value for name, value in stored.items() if name not in unset}:
            reason = f"belongs to run {pipeline_id}, which has other parameters"
            raise FieldsRefused([FieldProblem(field="Idempotency-Key", reason=reason)])
    return pipeline_id


@router.get("/runs", tags=["runs"])
def list_runs(
    context: InContext,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    before: Annotated[str | None, Query(description="a run's id: only older ones")] = None,
    status: Annotated[RunStatus | None, Query()] = None,
) -> schemas.RunsPage:
    """List runs, newest first."""
    rows = queries.key_figures_before(context.engine, checked_run_id(before) if before else None, status, limit + 1)
    shown = rows[:limit]
    chosen = f"&status={status}" if status else ""
    follows = f"{BASE}/runs?limit={limit}&before={shown[-1]['pipeline_id']}{chosen}" if len(rows) > limit else None
    return schemas.RunsPage(runs=[schemas.RunFigures.model_validate(dict(row)) for row in shown], next=follows)


@router.get("/runs/{pipeline_id}", tags=["runs"])
def show_run(context: InContext, pipeline_id: RunId) -> schemas.RunDocument:
    """Show a run: status, counts, conservation, stages, files."""
    return schemas.RunDocument.model_validate(run_document(context.engine, context.settings, pipeline_id))


@router.get(
    "/runs/{pipeline_id}/events",
    tags=["runs"],
    response_model=schemas.EventsPage,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def run_events(
    request: Request,
    context: InContext,
    pipeline_id: RunId,
    after: Annotated[int, Query(ge=0, le=2**53, description="only events with a higher sequence")] = 0,
    last_event_id: Annotated[str | None, Header(description="as browsers send it; wins over after")] = None,
) -> Any:
    """List a run's events, or with `Accept: text/event-stream` follow them: each once, in order, without a gap.

    A stream's ids are sequence numbers; messages named `progress` have none. It stays open when the run has ended.
    """
    await run_in_threadpool(queries.run_row, context.engine, pipeline_id)
    if wants_stream(request):
        return Stream(context.live.watch(EVENTS, pipeline_id, _number(last_event_id, after)))
    rows = await run_in_threadpool(queries.events_after, context.engine, pipeline_id, after, _PAGE)
    return JSONResponse({"events": [event_document(row) for row in rows]})


def _number(last_event_id: str | None, after: int) -> int:
    """Return the number of the last event that a client has; an invalid number is ignored."""
    return int(last_event_id) if last_event_id and _SEQUENCE.fullmatch(last_event_id) else after


@_changes.post("/runs/{pipeline_id}/cancel", status_code=202, tags=["runs"])
def cancel_run(context: InContext, pipeline_id: RunId) -> schemas.Asked:
    """Ask the run's owner to stop; it does within seconds."""
    cancelled(context, pipeline_id)
    return schemas.Asked(pipeline_id=pipeline_id, asked="cancel")


def cancelled(context: Context, pipeline_id: str) -> None:
    """Ask a run to stop; raises `UnknownRun`, and `IllegalTransition` when it has ended."""
    status = queries.run_row(context.engine, pipeline_id)["status"]
    if not context.actions.cancel(pipeline_id):
        raise IllegalTransition(f"run {pipeline_id} is {status}; there is nothing to cancel")


@_changes.post("/runs/{pipeline_id}/resume", status_code=202, tags=["runs"])
def resume_run(
    context: InContext,
    pipeline_id: RunId,
    options: schemas.ResumeOptions = schemas.ResumeOptions(),  # noqa: B008
) -> schemas.Asked:
    """Execute an ended run again, from the first stage that fails verification or from the one named."""
    queries.run_row(context.engine, pipeline_id)
    if context.actions.resume is None:
        raise HTTPException(404, "this page does not resume runs")
    context.take_start(None)
    context.actions.resume(pipeline_id, options.from_stage)
    return schemas.Asked(pipeline_id=pipeline_id, asked="resume")


@router.get("/compare", tags=["runs"])
def compare(context: InContext, a: Annotated[str, Query()], b: Annotated[str, Query()]) -> dict[str, Any]:
    """Show how run b differs from run a."""
    return compared(context, a, b)


def compared(context: Context, a: str, b: str) -> dict[str, Any]:
    """Return how run b differs from run a; raises `UnknownRun`."""
    return compare_runs(context.engine, context.settings, checked_run_id(a), checked_run_id(b))


def _accepted(pipeline_id: str) -> schemas.RunAccepted:
    href = f"{BASE}/runs/{pipeline_id}"
    return schemas.RunAccepted(pipeline_id=pipeline_id, href=href, events=f"{href}/events")


router.include_router(_changes)


@health_router.get("/health")
def health() -> schemas.Health:
    """Report that the page answers."""
    return schemas.Health(status=_OK)


@health_router.get("/ready", responses={503: {"model": schemas.Health, "description": "something is missing"}})
def ready(context: InContext, response: Response) -> schemas.Health:
    """Report whether runs can be shown, followed and started; 503 when one of these cannot be done."""
    checks = {
        "database": _database(context),
        "live": _OK if context.live.connected.is_set() else "no connection to be notified by",
        "starting": context.trouble() or _OK,
    }
    fine = all(each == _OK for each in checks.values())
    response.status_code = 200 if fine else 503
    return schemas.Health(status=_OK if fine else "degraded", checks=checks)


def _database(context: Context) -> str:
    try:
        with context.engine.connect() as connection:
            connection.execute(text("select 1"))
    except SQLAlchemyError as error:
        return f"cannot be reached ({type(error).__name__})"
    return _OK
