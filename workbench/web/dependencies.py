"""What every handler works with: handed in once, carried by the application, no globals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from jinja2 import Environment
from sqlalchemy import Engine
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from workbench.base.errors import WorkbenchError
from workbench.base.run_id import checked_run_id
from workbench.base.settings import Settings
from workbench.stage.pipeline import STAGE_NAME, STAGE_NAMES, StageName
from workbench.stage.run_parameters import RunParameters
from workbench.web.auth import Access
from workbench.web.broadcaster import Live
from workbench.web.limits import TokenBucket


@dataclass(frozen=True)
class Context:
    """Settings, tracking database, actions, and what the page itself keeps."""

    settings: Settings
    engine: Engine
    actions: Actions
    access: Access
    live: Live
    templates: Environment
    starts: TokenBucket = field(default_factory=TokenBucket)

    def render(self, request: Request, template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
        """Return a page; its forms carry the session's token."""
        session = request.scope.get("workbench.session", "")
        shared = {"form_token": self.access.form_token(session), "path": request.url.path, "offers": self.actions}
        return HTMLResponse(self.templates.get_template(template).render(shared | values), status)

    def trouble(self) -> str | None:
        """Return in one sentence why no new run can be executed; an error of the check counts, too."""
        try:
            return self.actions.trouble()
        except WorkbenchError as error:
            return str(error)

    def take_start(self, key: str | None) -> None:
        """Count one start of a run; raises 429 with the seconds to wait when there have been too many."""
        wait = self.starts.take(key)
        if wait:
            headers = {"Retry-After": f"{wait:.0f}" if wait >= 1 else "1"}
            raise HTTPException(429, f"too many runs were started; try again in {headers['Retry-After']} s", headers)


def context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _run_id(pipeline_id: Annotated[str, Path(description="a run's id", examples=["20261123t083012_a1b2c3"])]) -> str:
    return checked_run_id(pipeline_id)


def _stage_name(
    stage: Annotated[str, Path(description="a stage's name", json_schema_extra={"enum": STAGE_NAMES})],
) -> StageName:
    if not STAGE_NAME.fullmatch(stage):
        raise HTTPException(404, f"there is no stage {stage[:60]!r}")
    return stage


InContext = Annotated[Context, Depends(context_of)]
RunId = Annotated[str, Depends(_run_id)]
Stage = Annotated[StageName, Depends(_stage_name)]


def no_trouble() -> str | None:
    """Return None: new runs can be executed."""
    return None


@dataclass(frozen=True)
class Actions:
    """Each may block for seconds and is called in a thread. An action of None is not offered.

    `trigger(parameters, idempotency_key)`: records a pending run, commits, asks for it to be worked, returns its id; a
        known key returns its run. Raises `ServiceUnavailable`, and then has left nothing behind.
    `cancel(pipeline_id)`: asks the owner to stop; False when the run has ended already.
    `resume(pipeline_id, from_stage)`: has the run worked again, from that stage or from the first that does not verify.
        Raises `IllegalTransition`, `ServiceUnavailable`.
    `open_failure(pipeline_id, stage)`: copies the stage's notebook to step through it, and returns where a running
        JupyterLab shows the copy, None when none runs.
    `trouble()`: says in one sentence what keeps new runs from being worked, None when nothing does.
    """

    trigger: Callable[[RunParameters, str | None], str]
    cancel: Callable[[str], bool]
    resume: Callable[[str, StageName | None], object] | None = None
    open_failure: Callable[[str, StageName], str | None] | None = None
    trouble: Callable[[], str | None] = no_trouble
