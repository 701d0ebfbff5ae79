"""Plugs the parts together: the terminal gets the flow handed in, so that nothing below imports upward."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import ModuleType

from pipeline_lib.cli.app import Following, create_cli
from pipeline_lib.parameters import RunParameters
from pipeline_lib.settings import Settings

_PENDING_SECONDS = 180  # how long a new run may wait for its flow to begin
_PREFECT_QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # people watch our own progress; Prefect's page has its logs
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_WIKI_ENABLED": "false",
}


def main() -> None:
    """Run the `workbench` command."""
    create_cli(start_run)()


def start_run(parameters: RunParameters, settings: Settings, following: Following) -> str:
    """Create a run and work it to its end in this process, as a Prefect flow; returns its id.

    `following` is entered with engine and id as soon as the run is recorded. Raises what ended the run.
    """
    from pipeline_lib.execution.resources import acquired
    from pipeline_lib.execution.stage_run import error_record
    from pipeline_lib.tracking.runs import Origin, create_run
    from pipeline_lib.tracking.states import RunStatus

    parameters = parameters.started_at(datetime.now(UTC))
    with _flow_in_background(settings) as flow_module, acquired(settings) as resources:
        run = create_run(resources.engine, parameters, Origin(*_started_by()), _PENDING_SECONDS)
        with following(resources.engine, run.pipeline_id):
            try:
                flows = flow_module.result()
            except BaseException as error:
                status = RunStatus.CANCELLED if isinstance(error, KeyboardInterrupt) else RunStatus.FAILED
                run.end_badly(status, error_record(error))
                raise
            flows.work_here(resources, parameters, run.pipeline_id)
    return run.pipeline_id


def _started_by() -> tuple[str, str | None]:
    """Return who asked for the run, and the key by which they will look for it; what it starts does not inherit it."""
    trigger, _, key = os.environ.pop("WORKBENCH_STARTED_BY", "cli").partition(":")
    return trigger, key or None


@contextmanager
def _flow_in_background(settings: Settings) -> Iterator[Future[ModuleType]]:
    """Reach or start Prefect and import the flow while the caller does other things: each takes seconds."""
    with ExitStack() as held, ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefect") as starter:
        yield starter.submit(_load_flow, settings, held)


def _load_flow(settings: Settings, held: ExitStack) -> ModuleType:
    from pipeline_lib.services import prefect

    url = held.enter_context(prefect.held(settings))
    # Prefect reads its settings when it is imported.
    os.environ.update(_PREFECT_QUIET | {"PREFECT_API_URL": url, "PREFECT_HOME": str(settings.home / "prefect")})
    return importlib.import_module("flows.pipeline")
