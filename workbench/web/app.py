"""The application factory: everything is handed in, nothing is global."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from starlette.responses import FileResponse

from workbench.base.settings import Settings
from workbench.notebook.report import COLOURS
from workbench.run.crash_recovery import look_after
from workbench.run.publisher import publish_due
from workbench.web import api, api_files, pages, pages_changes
from workbench.web.auth import Access
from workbench.web.broadcaster import Live
from workbench.web.channels import topic_maker
from workbench.web.dependencies import Actions, Context
from workbench.web.limits import BodyLimit
from workbench.web.middleware import Gate
from workbench.web.problems import Problem, add_handlers
from workbench.web.rendering import PLOTLY, PLOTLY_NAME, run_parts, templates

_STATIC = Path(__file__).with_name("static")
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


def create_app(settings: Settings, engine: Engine, actions: Actions) -> FastAPI:
    """Return the page and its API. The live stream runs while the application's lifespan lasts."""
    environment = templates()
    make_topic = topic_maker(settings, lambda run: run_parts(environment, settings, actions, run))
    live = Live(engine.url, make_topic, lambda _own: _look_after(engine, settings))
    context = Context(settings, engine, actions, Access.of(settings), live, environment)
    app = FastAPI(
        title="Notebook workbench",
        version=settings.dd_version,
        lifespan=lambda _app: _living(live),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    for router in (api.router, api_files.router, api.health_router, pages.router, pages_changes.router):
        app.include_router(router)
    _add_static(app)
    _add_description(app)
    add_handlers(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Gate, access=context.access)
    return app


def _look_after(engine: Engine, settings: Settings) -> None:
    look_after(engine, settings)
    publish_due(engine, paced=True)


def _living(live: Live) -> AbstractAsyncContextManager[None]:
    @asynccontextmanager
    async def living() -> AsyncIterator[None]:
        live.start()
        try:
            yield
        finally:
            live.stop()

    return living()


def _add_static(app: FastAPI) -> None:
    @app.get(f"/static/{PLOTLY_NAME}", include_in_schema=False)
    def plotly_js() -> FileResponse:
        return FileResponse(PLOTLY, media_type="text/javascript", headers=_FOREVER)

    @app.get("/static/colours.js", include_in_schema=False)
    def colours_js() -> FileResponse:
        return FileResponse(COLOURS, media_type="text/javascript")

    app.mount("/static", StaticFiles(directory=_STATIC))


def _add_description(app: FastAPI) -> None:
    """Serve the API's OpenAPI description, in which every error is a problem document."""
    description: dict[str, Any] = {}

    @app.get(f"{api.BASE}/openapi.json", include_in_schema=False)
    def openapi() -> dict[str, Any]:
        if not description:
            description.update(_described(app))
        return description


def _described(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= schemas["Problem"].pop("$defs")
    bearer = {"type": "http", "scheme": "bearer", "description": "the token that `workbench web` prints"}
    document["components"]["securitySchemes"] = {"token": bearer}
    document["security"] = [{"token": []}]
    return document
