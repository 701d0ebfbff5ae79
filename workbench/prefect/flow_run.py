"""A run inside a Prefect flow: what a flow file such as flows/pipeline.py is made of.

PostgreSQL holds the truth about a run and Prefect mirrors it: the flow claims the run, its loop executes the stages,
and it ends in the state that the tables hold. Without Prefect the flow's plain function (`flow.fn`) does the same work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import Flow, get_client, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun, PrefectException
from prefect.flow_engine import run_flow
from prefect.states import Cancelled, get_state_exception
from prefect.tasks import Task, exponential_backoff

from workbench.base import logs
from workbench.base.errors import IllegalTransition, LeaseLost, RunCancelled
from workbench.base.redaction import strike_secrets_out_of
from workbench.base.settings import load_settings
from workbench.prefect.artifacts import publish_key_figures, publish_report_links
from workbench.prefect.cancellation import cancelled_by_signals
from workbench.prefect.flow_signature import with_fields_of
from workbench.prefect.states import state_of
from workbench.run.lifecycle import (
    RETRIES,
    RETRY_SECONDS,
    claimed,
    execute_with_retries,
    is_worth_retrying,
    stages_to_execute,
    worked_to_its_end,
)
from workbench.run.publisher import check_readers
from workbench.run.resources import Resources, acquired
from workbench.run.reuse import with_reusable_clock
from workbench.run.stage_runner import RunAtWork, is_cancelled, run_stage, worth_retrying
from workbench.stage.pipeline import STAGES, Stage, StageName, stage_named
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.lease import Watch
from workbench.state.runs import Origin, create_run

log = logging.getLogger(__name__)
_BACKUP_SECONDS = 60  # Prefect's limit only backs up the run's own stage_timeout
# A flow's parameters go through Prefect's API as JSON; what a process hands to its own flow goes through this.
_handed_over: ContextVar[tuple[Resources, Watch] | None] = ContextVar("handed_over", default=None)


class RunInFlow:
    """A claimed run, as a flow's loop sees it. (Not a dataclass: Prefect traverses those among a task's arguments.)"""

    def __init__(self, work: RunAtWork) -> None:
        self.parameters = work.parameters
        self._work = work

    def stages_to_execute(self) -> Iterator[Stage]:
        """Yield, in order, the stages whose notebooks have to run; the others are recorded as skipped or reused."""
        return stages_to_execute(self._work)

    def execute(self, stage: Stage) -> None:
        """Run the stage as a Prefect task with retries and a time limit; in a flow without Prefect, by plain retries.

        Raises what ended the stage.
        """
        if FlowRunContext.get() is None:
            execute_with_retries(self._work, stage)
            return
        name, limit = f"{STAGES.index(stage) + 1} {stage.title}", self.parameters.stage_timeout + _BACKUP_SECONDS
        ended: Any = _stage_task.with_options(task_run_name=name, timeout_seconds=limit)(self, stage.name)
        if ended is not None:
            raise cast(BaseException, get_state_exception(ended))

    def run_stage(self, stage_name: StageName) -> State[Any] | None:
        """Run one stage in a task; a cancelled one becomes Prefect's state, which holds the exception."""
        stage, context = stage_named(stage_name), TaskRunContext.get()
        attempts_left = context is not None and context.task_run.run_count <= context.task.retries
        try:
            run_stage(self._work, stage, lambda name: attempts_left and worth_retrying(name))
        except Exception as error:
            strike_secrets_out_of(error)
            if isinstance(error, LeaseLost) or not is_cancelled(self._work, error):
                raise
            return Cancelled(message=str(error), data=error)
        finally:
            publish_report_links(self._work.folder, stage)
        return None


def _retry_if_transient(_task: Task[Any, Any], _task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether a stage's task in this state is worth another attempt."""
    return is_worth_retrying(state.result(raise_on_failure=False))


@task(
    name="stage",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=RETRY_SECONDS),
    retry_jitter_factor=0.5,
    retry_condition_fn=_retry_if_transient,
    cache_policy=NO_CACHE,
)
def _stage_task(run: RunInFlow, stage_name: StageName) -> Any:
    """Execute the stage's notebook, render its report, prove and record its result."""
    return run.run_stage(stage_name)


def name_of_run() -> str:
    """Name a flow run after its run; a new run has no id yet when Prefect asks."""
    return str(runtime.flow_run.parameters.get("pipeline_id") or runtime.flow_run.name)


def works_a_run(loop: Callable[[RunInFlow], None]) -> Callable[..., str | State[Any]]:
    """Make a loop over a run's stages a function for Prefect's `@flow`; its parameters are a run's, and `pipeline_id`.

    The function works the pending run `pipeline_id`, whose recorded parameters count, or else a new run with the given
    ones, and returns its id. It raises what made the run fail; of a run that was cancelled, or ended by another
    process, it returns Prefect's state.
    """

    @wraps(loop)
    def work(pipeline_id: str = "", **values: Any) -> str | State[Any]:
        handed_over = _handed_over.get()
        watch = handed_over[1] if handed_over else Watch()
        with cancelled_by_signals(watch), ExitStack() as stack:
            resources = handed_over[0] if handed_over else stack.enter_context(_own_resources())
            run_id = pipeline_id or _recorded(resources, RunParameters.checked(values))
            try:
                _work_to_the_end(loop, resources, run_id, watch, is_named=bool(pipeline_id))
            except (RunCancelled, LeaseLost, IllegalTransition, KeyboardInterrupt):
                ended = _recorded_end(resources, run_id)
                if ended is None:
                    raise
                return ended
            except Exception as error:
                strike_secrets_out_of(error)  # Prefect keeps its text and traceback
                raise
        return run_id

    return with_fields_of(RunParameters)(work)


@contextmanager
def _own_resources() -> Iterator[Resources]:
    settings = load_settings()
    logs.configure(settings)
    with acquired(settings) as resources:
        yield resources


def _recorded(resources: Resources, parameters: RunParameters) -> str:
    """Record a run that Prefect started by itself; returns its id."""
    check_readers(resources.engine, resources.settings.workbench_schema)
    parameters = with_reusable_clock(resources.engine, resources.code, parameters)
    run = create_run(resources.engine, parameters, Origin("prefect"), resources.settings.workbench_lease_seconds)
    return run.pipeline_id


def _work_to_the_end(
    loop: Callable[[RunInFlow], None], resources: Resources, pipeline_id: str, watch: Watch, *, is_named: bool
) -> None:
    flow_run_id = _flow_run_id()
    with claimed(resources, pipeline_id, watch) as work:
        work.run.start(flow_run_id)
        if flow_run_id and not is_named:
            _name_flow_run(flow_run_id, pipeline_id)
        try:
            with worked_to_its_end(work):
                loop(RunInFlow(work))
        finally:
            if flow_run_id:
                publish_key_figures(work)


def _flow_run_id() -> str | None:
    """Return Prefect's id of the flow run around this code; None without Prefect."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else None


def _name_flow_run(flow_run_id: str, pipeline_id: str) -> None:
    """Name the flow run after its run; a Prefect that does not answer costs the name, not the run (P10)."""
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_name(UUID(flow_run_id), pipeline_id)
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("flow run not named", extra={"error_type": type(error).__name__})


def _recorded_end(resources: Resources, pipeline_id: str) -> State[Any] | None:
    """Return the run's recorded end; None without one, without Prefect, or when another flow run worked it."""
    flow_run_id = _flow_run_id()
    if flow_run_id is None:
        return None
    row = queries.run_row(resources.engine, pipeline_id)
    return state_of(row) if row["prefect_flow_run_id"] in (None, flow_run_id) else None


def work_in_prefect(flow: Flow[..., Any], resources: Resources, pipeline_id: str, watch: Watch) -> None:
    """Work a pending run to its end in this process, as a flow run of Prefect; raises what ended it."""
    with _handing_over(resources, watch):
        try:
            run_flow(flow, parameters={"pipeline_id": pipeline_id})
        except CancelledRun as error:
            raise RunCancelled(f"run {pipeline_id} was cancelled") from error
        except (CrashedRun, FailedRun) as error:
            raise LeaseLost(f"run {pipeline_id} was ended by another process: {error}") from error


def work_without_prefect(flow: Flow[..., Any], resources: Resources, pipeline_id: str, watch: Watch) -> None:
    """Work a pending run to its end in this process by the flow's plain function; raises what ended it."""
    with _handing_over(resources, watch):
        flow.fn(pipeline_id)


@contextmanager
def _handing_over(resources: Resources, watch: Watch) -> Iterator[None]:
    """Let the flow that starts in this block use what its caller has reached or started, and obey the same watch."""
    token = _handed_over.set((resources, watch))
    try:
        yield
    finally:
        _handed_over.reset(token)
