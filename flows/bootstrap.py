"""Plugs the parts together: the terminal gets the flow handed in, so that nothing below imports upward."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from workbench.base.error_text import one_line
from workbench.base.errors import Refused, RunCancelled, RunStateError, ServiceUnavailable, WorkbenchError
from workbench.base.settings import Settings
from workbench.cli.commands import Following, create_cli
from workbench.prefect.connection import flow_in_background, reach_prefect, tell_prefect_where_it_lives
from workbench.stage.pipeline import StageName
from workbench.stage.run_parameters import RunParameters

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from workbench.run.resources import Resources
    from workbench.state.lease import Watch
    from workbench.state.runs import OwnedRun

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
_WORKER = {
    "PREFECT_WORKER_QUERY_SECONDS": "2",  # a person who clicked waits for it
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_CLIENT_MAX_RETRIES": "3",  # many write into one Prefect, which then answers 503 and means: again
}


def main() -> None:
    """Run the `workbench` command."""
    create_cli(start_run, resume_run, work, serve_page, check_prefect)()


def check_prefect(settings: Settings) -> None:
    """Raise `ServiceUnavailable` when the Prefect that is up does not let us in."""
    tell_prefect_where_it_lives(settings)
    from workbench.prefect.api import check_access

    check_access(settings)


def start_run(parameters: RunParameters, settings: Settings, following: Following) -> str:
    """Create a run and work it to its end in this process, as a Prefect flow; returns its id.

    `following` is entered with engine and id as soon as the run is recorded. Raises what ended the run.
    """
    from workbench.run.resources import acquired
    from workbench.run.reuse import on_former_clock
    from workbench.state.runs import Origin, create_run

    moment = datetime.now(UTC)
    with flow_in_background(settings) as flow_module, acquired(settings) as resources:
        fixed = on_former_clock(resources.engine, resources.code, parameters).started_at(moment)
        origin, lease = Origin(*_started_by()), settings.workbench_lease_seconds
        record = partial(create_run, resources.engine, fixed, origin, lease)
        return _work(record, flow_module, resources, following)


def resume_run(pipeline_id: str, from_stage: StageName | None, settings: Settings, following: Following) -> str:
    """Go on with an ended run in this process, from its first stage that does not verify or from `from_stage`.

    Like `start_run`; raises `UnknownRun` and `ResumeRefused` before anything starts.
    """
    from workbench.run.crash_recovery import look_after
    from workbench.run.resources import acquired
    from workbench.services import postgres
    from workbench.state import database
    from workbench.state.next_attempt import check_resumable, reopen_run

    with postgres.held(settings) as url:
        engine = database.connect(url)
        look_after(engine, settings, once=True)
        check_resumable(engine, pipeline_id, from_stage)
        engine.dispose()
        with flow_in_background(settings) as flow_module, acquired(settings) as resources:
            lease = settings.workbench_lease_seconds
            record = partial(reopen_run, resources.engine, pipeline_id, lease, from_stage)
            return _work(record, flow_module, resources, following)


def _work(
    record: Callable[[], OwnedRun], flow_module: Future[ModuleType], resources: Resources, following: Following
) -> str:
    """Record a pending run and work it to its end, whatever that is; returns its id.

    A signal cancels it from its first moment to its last. Raises `Refused` before it is recorded, never afterwards.
    """
    from workbench.notebook.injection import check_notebooks
    from workbench.prefect.cancellation import cancelled_by_signals
    from workbench.run.publisher import check_readers, publish_due
    from workbench.state.lease import Watch, held_until_claimed

    check_notebooks(resources.settings.notebooks)
    check_readers(resources.engine, resources.settings.workbench_schema)
    publish_due(resources.engine)
    watch = Watch()
    with cancelled_by_signals(watch), ExitStack() as stack:
        run = record()
        stack.enter_context(following(run.engine, run.pipeline_id))
        stack.enter_context(held_until_claimed(run, watch))
        try:
            _work_with_or_without_prefect(run, flow_module, resources, watch)
        except BaseException as error:
            cancelled = watch.stop.is_set() or not isinstance(error, Exception)
            _end_if_pending(run, cancelled, error)
            if cancelled and not isinstance(error, WorkbenchError):
                raise RunCancelled(f"run {run.pipeline_id} was cancelled") from error
            _tell_of_lost_database(run, error)
            if isinstance(error, Refused):
                error.exit_code = 1  # the run is on record and has failed
            raise
    return run.pipeline_id


def _work_with_or_without_prefect(
    run: OwnedRun, flow_module: Future[ModuleType], resources: Resources, watch: Watch
) -> None:
    """Work the run as a flow of Prefect, and without Prefect when that is away (P10)."""
    from workbench.prefect import without_prefect

    try:
        flows = _loaded(flow_module, watch, run.pipeline_id)
    except ServiceUnavailable as error:
        log.warning("Prefect is away, the run goes on without it", extra={"error_type": type(error).__name__})
        without_prefect.work_alone(resources, run.pipeline_id, watch)
        return
    importlib.import_module("workbench.prefect.reconciliation").mirror_once(resources.engine, resources.settings)
    without_prefect.with_or_without_prefect(flows.work_here, resources, run.pipeline_id, watch)


def _loaded(flow_module: Future[ModuleType], watch: Watch, pipeline_id: str) -> ModuleType:
    while not flow_module.done():
        if watch.stop.wait(_LOOK_SECONDS):
            raise RunCancelled(f"run {pipeline_id} was cancelled before it began")
    return flow_module.result()


def _end_if_pending(run: OwnedRun, cancelled: bool, error: BaseException) -> None:
    """End a run that nobody has claimed; who claimed it has ended it already."""
    from sqlalchemy.exc import DBAPIError

    from workbench.run.stage_runner import error_record
    from workbench.state.states import RunStatus

    status = RunStatus.CANCELLED if cancelled else RunStatus.FAILED
    try:
        run.end_badly(status, error_record(error))
    except RunStateError:
        return
    except DBAPIError as lost:
        log.warning("the run's end is not recorded", extra={"error_type": type(lost).__name__})


def _tell_of_lost_database(run: OwnedRun, error: BaseException) -> None:
    """Raise what to tell instead of an error that says only that the database is gone."""
    from sqlalchemy.exc import OperationalError

    if isinstance(error, OperationalError):
        told = f"run {run.pipeline_id}: the database went away and did not come back: {one_line(error.orig or error)}"
        raise ServiceUnavailable(f"{told}; the run counts as crashed once its lease is over") from error


def _started_by() -> tuple[str, str | None]:
    """Return who asked for the run, and the key by which they will look for it; what it starts does not inherit it."""
    trigger, _, key = os.environ.pop("WORKBENCH_STARTED_BY", "cli").partition(":")
    return trigger, key or None


def work(settings: Settings, limit: int) -> None:
    """Work what stands in Prefect's queue, up to `limit` pipelines at once, until a signal ends it."""
    with ExitStack() as held:
        reach_prefect(settings, held, full=True)
        os.environ.update(_WORKER | {"WORKBENCH_HOME": str(settings.home)})
        flow = importlib.import_module("flows.pipeline").pipeline
        importlib.import_module("workbench.prefect.worker").work(settings, limit, flow)


def serve_page(settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve the page until a signal. It reaches Prefect anew for every action, so that it outlives Prefect."""
    tell_prefect_where_it_lives(settings)
    from workbench.prefect.actions import actions_on
    from workbench.services import postgres
    from workbench.state import database
    from workbench.web.server import serve

    with postgres.held(settings) as url:
        engine = database.connect(url)
        actions = replace(actions_on(settings, engine), open_failure=partial(_opened, settings, engine))
        try:
            serve(settings, engine, actions, on_ready)
        finally:
            engine.dispose()


def _opened(settings: Settings, engine: Engine, pipeline_id: str, stage: StageName) -> str | None:
    """Make a copy of the stage's notebook to step through; returns where the running JupyterLab shows it, if one runs.

    Its token is left out: who may step through notebooks has opened JupyterLab before.
    """
    from workbench.cli.lab_server import lab_root, running_address
    from workbench.run.debug_copy import open_copy

    copy = open_copy(engine, settings, pipeline_id, stage, lab_root(settings) / "opened")
    address = running_address(settings, f"opened/{copy.name}")
    return address.partition("?")[0] if address else None


if __name__ == "__main__":
    main()
