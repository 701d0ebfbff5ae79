"""Is the page up, and can it do what it is for."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from workbench.web import schemas
from workbench.web.api import BASE
from workbench.web.dependencies import Context, InContext

health_router = APIRouter(prefix=BASE, tags=["health"])
_OK = "ok"


@health_router.get("/health")
def health() -> schemas.Health:
    """Tell that the page answers."""
    return schemas.Health(status=_OK)


@health_router.get("/ready", responses={503: {"model": schemas.Health, "description": "something is missing"}})
def ready(context: InContext, response: Response) -> schemas.Health:
    """Tell whether runs can be shown, followed and started; 503 when one of these cannot be done."""
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
