"""Plugs the parts together: the terminal gets the flow handed in, so that nothing below imports upward."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING

from pipeline_lib.cli.app import Following, create_cli
from pipeline_lib.errors import ServiceUnavailable
from pipeline_lib.parameters import RunParameters, StageName
from pipeline_lib.settings import Settings

if TYPE_CHECKING:
    from pipeline_lib.execution.resources import Resources
    from pipeline_lib.tracking.runs import OwnedRun

log = logging.getLogger(__name__)

_PENDING_SECONDS = 180  # how long a new run may wait for its flow to begin
_PREFECT_QUIET = {
    "PREFECT_CLIENT_MAX_RETRIES": "1",  # it mirrors the run; waiting for it would only slow the run down
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # people watch our own progress; Prefect's page has its logs
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_WIKI_ENABLED": "false",
}
_WORKER = {
    "PREFECT_WORKER_QUERY_SECONDS": "2",  # a person who clicked waits for it
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
}


def main() -> None:
    """Run the `workbench` command."""
    create_cli(start_run, resume_run, work)()


def start_run(parameters: RunParameters, settings: Settings, following: Following) -> str:
    """Create a run and work it to its end in this process, as a Prefect flow; returns its id.

    `following` is entered with engine and id as soon as the run is recorded. Raises what ended the run.
    """
    from pipeline_lib.execution.resources import acquired
    from pipeline_lib.execution.reuse import on_former_clock
    from pipeline_lib.tracking.runs import Origin, create_run

    moment = datetime.now(UTC)
    with _flow_in_background(settings) as flow_module, acquired(settings) as resources:
        fixed = on_former_clock(resources, parameters).started_at(moment)
        run = create_run(resources.engine, fixed, Origin(*_started_by()), _PENDING_SECONDS)
        _work(run, flow_module, resources, following)
    return run.pipeline_id


def resume_run(pipeline_id: str, from_stage: StageName | None, settings: Settings, following: Following) -> str:
    """Go on with an ended run in this process, from its first stage that does not verify or from `from_stage`.

    Like `start_run`; raises `UnknownRun` and `ResumeRefused` before anything starts.
    """
    from pipeline_lib.execution.aftermath import look_after
    from pipeline_lib.execution.resources import acquired
    from pipeline_lib.services import postgres
    from pipeline_lib.tracking import database
    from pipeline_lib.tracking.resuming import check_resumable, reopen_run

    with postgres.held(settings) as url:
        engine = database.connect(url)
        look_after(engine, settings)
        check_resumable(engine, pipeline_id, from_stage)
        engine.dispose()
        with _flow_in_background(settings) as flow_module, acquired(settings) as resources:
            run = reopen_run(resources.engine, pipeline_id, _PENDING_SECONDS, from_stage)
            _work(run, flow_module, resources, following)
    return pipeline_id


def _work(run: OwnedRun, flow_module: Future[ModuleType], resources: Resources, following: Following) -> None:
    """Work a pending run as a flow of Prefect, and without Prefect when that is away (P10)."""
    from flows import alone
    from pipeline_lib.execution.stage_run import error_record
    from pipeline_lib.tracking.states import RunStatus

    with following(run.engine, run.pipeline_id):
        try:
            flows = flow_module.result()
        except ServiceUnavailable as error:
            log.warning("Prefect is away, the run goes on without it", extra={"error_type": type(error).__name__})
            alone.work_alone(resources, run.pipeline_id)
            return
        except BaseException as error:
            status = RunStatus.CANCELLED if isinstance(error, KeyboardInterrupt) else RunStatus.FAILED
            run.end_badly(status, error_record(error))
            raise
        alone.with_or_without_prefect(flows.work_here, resources, run.pipeline_id)


def _started_by() -> tuple[str, str | None]:
    """Return who asked for the run, and the key by which they will look for it; what it starts does not inherit it."""
    trigger, _, key = os.environ.pop("WORKBENCH_STARTED_BY", "cli").partition(":")
    return trigger, key or None


def work(settings: Settings, limit: int) -> None:
    """Work what stands in Prefect's queue, up to `limit` pipelines at once, until a signal ends it."""
    with ExitStack() as held:
        _reach_prefect(settings, held, full=True)
        os.environ.update(_WORKER | {"WORKBENCH_HOME": str(settings.home)})
        importlib.import_module("flows.worker").work(settings, limit)


@contextmanager
def _flow_in_background(settings: Settings) -> Iterator[Future[ModuleType]]:
    """Reach or start Prefect and import the flow while the caller does other things: each takes seconds."""
    with ExitStack() as held, ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefect") as starter:
        yield starter.submit(_load_flow, settings, held)


def _load_flow(settings: Settings, held: ExitStack) -> ModuleType:
    _reach_prefect(settings, held)
    return importlib.import_module("flows.pipeline")


def _reach_prefect(settings: Settings, held: ExitStack, *, full: bool = False) -> None:
    """Hold Prefect's server and set what Prefect reads from the environment when it is imported."""
    from pipeline_lib.services import prefect

    url = held.enter_context(prefect.held(settings, full))
    os.environ.update(_PREFECT_QUIET | {"PREFECT_API_URL": url, "PREFECT_HOME": str(settings.home / "prefect")})


if __name__ == "__main__":
    main()
