"""What a process of the workbench does with Prefect: start and resume runs, work the queue, check the access.

Prefect reads the environment when it is imported, so every function here reaches its server first and imports it then.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.base.error_text import one_line
from workbench.base.errors import Refused, RunCancelled, RunStateError, ServiceUnavailable, WorkbenchError
from workbench.base.settings import Settings
from workbench.prefect.connection import flow_in_background, reach_prefect, set_prefect_environment
from workbench.prefect.flow_loader import load_flow
from workbench.stage.pipeline import StageName
from workbench.stage.run_parameters import RunParameters

if TYPE_CHECKING:
    from prefect import Flow

    from workbench.run.lifecycle import Following
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


def check_prefect(settings: Settings) -> None:
    """Raise `ServiceUnavailable` when the Prefect that is up refuses our credentials."""
    set_prefect_environment(settings)
    from workbench.prefect.api import check_access

    check_access(settings)


def start_run(parameters: RunParameters, settings: Settings, following: Following) -> str:
    """Create a run and work it to its end in this process, as a Prefect flow; returns its id.

    `following` is entered with engine and id as soon as the run is recorded. Raises what ended the run.
    """
    from workbench.run.resources import acquired
    from workbench.run.reuse import with_reusable_clock
    from workbench.state.runs import Origin, create_run

    moment = datetime.now(UTC)
    with flow_in_background(settings) as flow, acquired(settings) as resources:
        fixed = with_reusable_clock(resources.engine, resources.code, parameters).started_at(moment)
        origin, lease = Origin(*_started_by()), settings.workbench_lease_seconds
        record = partial(create_run, resources.engine, fixed, origin, lease)
        return _work(record, flow, resources, following)


def resume_run(pipeline_id: str, from_stage: StageName | None, settings: Settings, following: Following) -> str:
    """Resume an ended run in this process, at its first stage whose result does not verify or at `from_stage`.

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
        with flow_in_background(settings) as flow, acquired(settings) as resources:
            lease = settings.workbench_lease_seconds
            record = partial(reopen_run, resources.engine, pipeline_id, lease, from_stage)
            return _work(record, flow, resources, following)


def work_queue(settings: Settings, limit: int) -> None:
    """Work the runs in Prefect's queue, up to `limit` at once, until a signal ends it."""
    with ExitStack() as held:
        reach_prefect(settings, held, full=True)
        os.environ.update(_WORKER | {"WORKBENCH_HOME": str(settings.home)})
        from workbench.prefect.worker import work

        work(settings, limit, load_flow())


def _work(
    record: Callable[[], OwnedRun], flow: Future[Flow[..., Any]], resources: Resources, following: Following
) -> str:
    """Record a pending run and work it to its end, good or bad; returns its id.

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
            _work_with_or_without_prefect(run.pipeline_id, flow, resources, watch)
        except BaseException as error:
            cancelled = watch.stop.is_set() or not isinstance(error, Exception)
            _end_if_pending(run, cancelled, error)
            if cancelled and not isinstance(error, WorkbenchError):
                raise RunCancelled(f"run {run.pipeline_id} was cancelled") from error
            _raise_for_lost_database(run, error)
            if isinstance(error, Refused):
                error.exit_code = 1  # the run is on record and has failed
            raise
    return run.pipeline_id


def _work_with_or_without_prefect(
    pipeline_id: str, flow: Future[Flow[..., Any]], resources: Resources, watch: Watch
) -> None:
    """Work the run as a flow run of Prefect, and without Prefect when that is away (P10)."""
    from workbench.state import queries
    from workbench.state.states import RunStatus

    try:
        loaded = _awaited(flow, pipeline_id, watch)
    except ServiceUnavailable as error:
        log.warning("Prefect is away, the run goes on without it", extra={"error_type": type(error).__name__})
        _work_alone(load_flow(), resources, pipeline_id, watch)
        return
    from workbench.prefect.flow_run import work_in_prefect
    from workbench.prefect.reconciliation import mirror_once

    mirror_once(resources.engine, resources.settings)
    try:
        work_in_prefect(loaded, resources, pipeline_id, watch)
    except WorkbenchError:
        raise
    except Exception as error:  # of Prefect alone, unless the run has ended badly or still runs
        status = queries.run_row(resources.engine, pipeline_id)["status"]
        if status not in (RunStatus.PENDING, RunStatus.COMPLETED):
            raise
        log.warning("Prefect is away", extra={"error_type": type(error).__name__, "run_status": status})
        if status == RunStatus.PENDING:
            _work_alone(loaded, resources, pipeline_id, watch)


def _work_alone(flow: Flow[..., Any], resources: Resources, pipeline_id: str, watch: Watch) -> None:
    from workbench.prefect.flow_run import work_without_prefect

    work_without_prefect(flow, resources, pipeline_id, watch)


def _awaited(flow: Future[Flow[..., Any]], pipeline_id: str, watch: Watch) -> Flow[..., Any]:
    while not flow.done():
        if watch.stop.wait(_LOOK_SECONDS):
            raise RunCancelled(f"run {pipeline_id} was cancelled before it began")
    return flow.result()


def _end_if_pending(run: OwnedRun, cancelled: bool, error: BaseException) -> None:
    """End a run that was never claimed; a claimed one has been ended by its owner."""
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


def _raise_for_lost_database(run: OwnedRun, error: BaseException) -> None:
    """Raise `ServiceUnavailable` in place of a driver's error about a database that is gone."""
    from sqlalchemy.exc import OperationalError

    if isinstance(error, OperationalError):
        reason = one_line(error.orig or error)
        raise ServiceUnavailable(
            f"run {run.pipeline_id}: the database went away and did not come back: {reason};"
            " the run counts as crashed once its lease is over"
        ) from error


def _started_by() -> tuple[str, str | None]:
    """Return who asked for the run, and the key by which it will be looked up; child processes do not inherit it."""
    trigger, _, key = os.environ.pop("WORKBENCH_STARTED_BY", "cli").partition(":")
    return trigger, key or None
