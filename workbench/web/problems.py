"""Errors as people and programs read them: a page for browsers, RFC 9457 problem details for the API."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from workbench.base.errors import (
    InvalidParameter,
    InvalidSetting,
    NotebookRefused,
    ReaderSchemaRefused,
    RunStateError,
    ServiceUnavailable,
    UnknownRun,
    WorkbenchError,
)
from workbench.web.headers import protect

log = logging.getLogger(__name__)
API = "/api/"
MEDIA_TYPE = "application/problem+json"
_STATUS: Mapping[type[WorkbenchError], int] = {
    InvalidParameter: 422,
    UnknownRun: 404,
    RunStateError: 409,
    NotebookRefused: 409,
    ReaderSchemaRefused: 409,
    ServiceUnavailable: 503,
    InvalidSetting: 503,
}


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str
    reason: str


class Problem(BaseModel):
    """RFC 9457 problem details; `errors` names each refused field."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


class FieldsRefused(WorkbenchError):
    """Some values of a request cannot be used; `problems` says which and why."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{each.field}: {each.reason}" for each in problems))
        self.problems = list(problems)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe these error answers in OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def problem_response(
    status: int, detail: str, errors: Sequence[FieldProblem] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """Return one problem; whatever it quotes is ASCII on the wire, lone surrogates included."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(errors))
    return Response(json.dumps(dict(problem), default=dict), status, headers, MEDIA_TYPE)


async def send_problem(scope: Scope, receive: Receive, send: Send, status: int, detail: str) -> None:
    """Answer before any handler runs."""
    await problem_response(status, detail)(scope, receive, send)


def add_handlers(app: FastAPI) -> None:
    """Translate every error once, at this edge."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(WorkbenchError, _on_workbench)
    app.add_exception_handler(DBAPIError, _on_database)
    app.add_exception_handler(NoConnection, _on_database)
    app.add_exception_handler(Exception, _on_unexpected)


def _answer(
    request: Request,
    status: int,
    detail: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    if request.url.path.startswith(API):
        return problem_response(status, detail, errors, headers)
    page: Response = request.app.state.context.render(
        request, "problem.html", {"title": HTTPStatus(status).phrase, "detail": detail}, status
    )
    page.headers.update(headers or {})
    return page


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        FieldProblem(field=".".join(map(str, each["loc"][1:])) or str(each["loc"][0]), reason=_reason(each["msg"]))
        for each in error.errors()
    ]
    return _answer(request, 422, "; ".join(f"{each.field}: {each.reason}" for each in problems), problems)


def _reason(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
    return _answer(request, error.status_code, detail or HTTPStatus(error.status_code).description, (), error.headers)


def _on_workbench(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    problems: list[FieldProblem] = []
    if isinstance(error, InvalidParameter):
        problems = [FieldProblem(field=error.field, reason=error.reason)]
    if isinstance(error, FieldsRefused):
        status, problems = 422, error.problems
    if status == 500:
        log.error("request failed", exc_info=error)
    return _answer(request, status, str(error), problems)


def _on_database(request: Request, error: Exception) -> Response:
    log.error("database not reachable", extra={"error_type": type(error).__name__})
    return _answer(request, 503, "the database cannot be reached; see `workbench doctor`")


def _on_unexpected(request: Request, error: Exception) -> Response:
    answer = _answer(request, 500, f"internal error ({type(error).__name__}); see the log")
    protect(answer.headers)  # Starlette sends this one outside the middleware
    return answer
