"""The pipeline as a Prefect flow: the stages in their order, one task each.

PostgreSQL is the truth about a run and Prefect mirrors it: the flow claims a run, works its stages, and raises what
went wrong, so that Prefect's state tells the same story.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import flow, get_client, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun, PrefectException
from prefect.states import Cancelled, get_state_exception
from prefect.tasks import Task, exponential_backoff

from workbench.base import logs
from workbench.base.errors import IllegalTransition, LeaseLost, RunCancelled
from workbench.base.redaction import strike_secrets_out_of
from workbench.base.settings import load_settings
from workbench.prefect.api import FLOW
from workbench.prefect.artifacts import publish_key_figures, publish_report_links
from workbench.prefect.cancellation import cancelled_by_signals
from workbench.prefect.flow_signature import with_fields_of
from workbench.prefect.states import state_of
from workbench.run.lifecycle import (
    RETRIES,
    RETRY_SECONDS,
    claimed,
    may_end_otherwise,
    stages_to_execute,
    worked_to_its_end,
)
from workbench.run.publisher import check_readers
from workbench.run.resources import Resources, acquired
from workbench.run.reuse import on_former_clock
from workbench.run.stage_runner import RunAtWork, is_cancelled, run_stage, worth_retrying
from workbench.stage.pipeline import STAGES, Stage, stage_named
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.lease import Watch
from workbench.state.runs import Origin, create_run

log = logging.getLogger(__name__)
_HANDED_OVER: ContextVar[tuple[Resources, Watch] | None] = ContextVar("handed_over", default=None)
_AT_WORK: ContextVar[RunAtWork] = ContextVar("run_at_work")


@contextmanager
def using(resources: Resources, watch: Watch) -> Iterator[None]:
    """Let the flow started in this block use what its caller has reached or started, and heed the same watch."""
    token = _HANDED_OVER.set((resources, watch))
    try:
        yield
    finally:
        _HANDED_OVER.reset(token)


def _shown_name() -> str:
    """Name the flow run after our run, which Prefect's own forms do not know yet."""
    return str(runtime.flow_run.parameters.get("pipeline_id") or runtime.flow_run.name)


@flow(name=FLOW, flow_run_name=_shown_name, log_prints=False)
@with_fields_of(RunParameters)
def pipeline(pipeline_id: str = "", **values: Any) -> str | State[Any]:
    """Generate, ingest, process, transform, export: one notebook each.

    Works the pending run `pipeline_id`, whose recorded parameters count, or else a new one with these parameters, and
    returns its id. Raises what made it fail; a run that was cancelled, or that somebody else ended, becomes that state.
    """
    handed_over = _HANDED_OVER.get()
    watch = handed_over[1] if handed_over else Watch()
    with cancelled_by_signals(watch), ExitStack() as stack:
        resources = handed_over[0] if handed_over else stack.enter_context(_own_resources())
        is_new = not pipeline_id
        pipeline_id = pipeline_id or _recorded(resources, RunParameters.checked(values))
        try:
            _work(resources, pipeline_id, watch, is_new)
        except (RunCancelled, LeaseLost, IllegalTransition, KeyboardInterrupt):
            ended = _as_it_ended(resources, pipeline_id)
            if ended is None:
                raise
            return ended
        except Exception as error:
            strike_secrets_out_of(error)  # Prefect keeps its text and traceback
            raise
    return pipeline_id


@contextmanager
def _own_resources() -> Iterator[Resources]:
    settings = load_settings()
    logs.configure(settings)
    with acquired(settings) as resources:
        yield resources


def _recorded(resources: Resources, parameters: RunParameters) -> str:
    """Record the run that Prefect has started by itself; returns its id."""
    check_readers(resources.engine, resources.settings.workbench_schema)
    parameters = on_former_clock(resources.engine, resources.code, parameters)
    run = create_run(resources.engine, parameters, Origin("prefect"), resources.settings.workbench_lease_seconds)
    return run.pipeline_id


def _work(resources: Resources, pipeline_id: str, watch: Watch, is_new: bool) -> None:
    with claimed(resources, pipeline_id, watch) as work:
        work.run.start(str(runtime.flow_run.id))
        if is_new:
            _name_flow_run(pipeline_id)
        _work_to_the_end(work)


def _name_flow_run(pipeline_id: str) -> None:
    """Name the flow run after our run; a Prefect that does not answer costs the name, not the run (P10)."""
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_name(UUID(runtime.flow_run.id), pipeline_id)
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("flow run not named", extra={"error_type": type(error).__name__})


def _as_it_ended(resources: Resources, pipeline_id: str) -> State[Any] | None:
    """Return the end that the tables tell; None while there is none, or when it was another flow run's work."""
    row = queries.run_row(resources.engine, pipeline_id)
    ours = row["prefect_flow_run_id"] in (None, str(runtime.flow_run.id))
    return state_of(row) if ours else None


def work_here(resources: Resources, pipeline_id: str, watch: Watch) -> None:
    """Work a pending run to its end in this process; raises what ended it."""
    parameters = RunParameters.checked(queries.run_row(resources.engine, pipeline_id)["parameters"])
    with using(resources, watch):
        try:
            pipeline(pipeline_id=pipeline_id, **parameters.model_dump())
        except CancelledRun as error:
            raise RunCancelled(f"run {pipeline_id} was cancelled") from error
        except (CrashedRun, FailedRun) as error:
            raise LeaseLost(f"run {pipeline_id} was ended by somebody else: {error}") from error


def _work_to_the_end(work: RunAtWork) -> None:
    token = _AT_WORK.set(work)
    try:
        with worked_to_its_end(work):
            for stage in stages_to_execute(work):
                _run_as_task(stage, work.parameters.stage_timeout)
    finally:
        _AT_WORK.reset(token)
        publish_key_figures(work)


def _run_as_task(stage: Stage, stage_timeout: int) -> None:
    """Run the stage's task; its name and its time limit are the stage's (Prefect's limit only backs up ours)."""
    name, limit = f"{STAGES.index(stage) + 1} {stage.title}", stage_timeout + 60
    ended = _stage_task.with_options(task_run_name=name, timeout_seconds=limit)(stage.name)
    if ended is not None:
        raise cast(BaseException, get_state_exception(ended))


def _try_again(_task: Task[Any, Any], _task_run: TaskRun, state: State[Any]) -> bool:
    return may_end_otherwise(state.result(raise_on_failure=False))


@task(
    name="stage",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=RETRY_SECONDS),
    retry_jitter_factor=0.5,
    retry_condition_fn=_try_again,
    cache_policy=NO_CACHE,
)
def _stage_task(stage_name: str) -> State[Any] | None:
    """Run one stage of the run at work. One that was cancelled becomes that state, which holds what ended it."""
    stage, context = stage_named(stage_name), TaskRunContext.get()
    attempts_left = context is not None and context.task_run.run_count <= RETRIES
    work = _AT_WORK.get()
    try:
        run_stage(work, stage, lambda name: attempts_left and worth_retrying(name))
    except Exception as error:
        strike_secrets_out_of(error)
        if isinstance(error, LeaseLost) or not is_cancelled(work, error):
            raise
        return Cancelled(message=str(error), data=error)
    finally:
        publish_report_links(work.folder, stage)
    return None
