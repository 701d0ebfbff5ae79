"""The pages' forms: each must send its session's token, and is answered by a redirect."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from workbench.base.errors import ServiceUnavailable
from workbench.stage.pipeline import STAGE_NAMES
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.web.api import cancelled, started
from workbench.web.dependencies import InContext, RunId, Stage, context_of
from workbench.web.middleware import session_cookie
from workbench.web.pages import start_page
from workbench.web.run_form import refusals, with_readable_input

_OWN = ("form_token", "idempotency_key")
_SEE_OTHER = 303


async def _sent(request: Request) -> dict[str, str]:
    """Return the form's texts."""
    form: FormData = await request.form(max_files=0, max_fields=200)
    return {name: value for name, value in form.items() if isinstance(value, str)}


Sent = Annotated[dict[str, str], Depends(_sent)]


def _checked(request: Request, sent: Sent) -> dict[str, str]:
    """Return the form without its token; raises 403 when the token is not the session's."""
    if not context_of(request).access.is_form_token(request, sent.get("form_token", "")):
        raise HTTPException(403, "this form has expired, or was not sent from this page; load the page again")
    return {name: value for name, value in sent.items() if name != "form_token"}


Form = Annotated[dict[str, str], Depends(_checked)]
router = APIRouter(include_in_schema=False)


@router.post("/runs")
def trigger(request: Request, context: InContext, form: Form) -> Response:
    """Start a run with the form's parameters, or show the reason at each refused field."""
    values = {name: value for name, value in form.items() if name not in _OWN}
    problems = refusals(values)
    if problems:
        return start_page(request, context, form, problems, 422)
    key = _key(form.get("idempotency_key", ""), values)
    context.take_start(key)
    try:
        pipeline_id = started(context, with_readable_input(RunParameters.checked(values)), key)
    except ServiceUnavailable as error:
        return start_page(request, context, form, {"": str(error)}, 503)
    return RedirectResponse(f"/runs/{pipeline_id}", _SEE_OTHER)


@router.post("/runs/{pipeline_id}/cancel")
def cancel(context: InContext, pipeline_id: RunId, form: Form) -> Response:
    """Ask a run to stop."""
    cancelled(context, pipeline_id)
    return RedirectResponse(f"/runs/{pipeline_id}", _SEE_OTHER)


@router.post("/runs/{pipeline_id}/resume")
def resume(context: InContext, pipeline_id: RunId, form: Form) -> Response:
    """Have a run worked again."""
    queries.run_row(context.engine, pipeline_id)
    stage = form.get("from_stage", "")
    if context.actions.resume is None or (stage and stage not in STAGE_NAMES):
        raise HTTPException(404, "this page does not resume runs from there")
    context.take_start(None)
    context.actions.resume(pipeline_id, stage or None)
    return RedirectResponse(f"/runs/{pipeline_id}", _SEE_OTHER)


@router.post("/runs/{pipeline_id}/stages/{stage}/open")
def open_failure(request: Request, context: InContext, pipeline_id: RunId, stage: Stage, form: Form) -> Response:
    """Show the address of a copy of the stage's notebook in JupyterLab, or the command that opens it."""
    queries.run_row(context.engine, pipeline_id)
    if context.actions.open_failure is None or stage not in STAGE_NAMES:
        raise HTTPException(404, "this page does not open notebooks")
    address = context.actions.open_failure(pipeline_id, stage)
    # A link, no redirect: browsers hold the redirect of a form to the policy for forms, which is to stay here.
    return context.render(request, "open.html", {"pipeline_id": pipeline_id, "stage": stage, "address": address})


@router.get("/login")
def login_form(request: Request, context: InContext, to: str = "/") -> Response:
    """Show the sign-in form."""
    return context.render(request, "login.html", {"to": _own_path(to), "refused": False})


@router.post("/login")
async def login(request: Request, context: InContext, sent: Sent) -> Response:
    """Give a session for the right token, which also stands for the form token."""
    to = _own_path(sent.get("to", "/"))
    if not context.access.is_token(sent.get("token", "").strip()):
        return await run_in_threadpool(context.render, request, "login.html", {"to": to, "refused": True}, 401)
    answer = RedirectResponse(to, _SEE_OTHER)
    answer.headers["Set-Cookie"] = session_cookie(context.access, context.access.new_session())
    return answer


def _key(given: str, values: dict[str, str]) -> str | None:
    """Return the key of these values sent by this form: a second click repeats it, changed values make another run."""
    content = json.dumps([given, sorted(values.items())])
    return hashlib.sha256(content.encode()).hexdigest() if given else None


def _own_path(to: str) -> str:
    """Return `to` if it is a path of this page, else `/`: the login must not redirect elsewhere."""
    own = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable()
    return to if own else "/"
