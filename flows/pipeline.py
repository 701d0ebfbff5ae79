"""The pipeline as a Prefect flow: the stages in their order, one task each.

PostgreSQL is the truth about a run and Prefect mirrors it: the flow claims a run, works its stages, and raises what
went wrong, so that Prefect's state tells the same story.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from flows.cancellation import cancelled_by_signals
from flows.prefect_artifacts import publish_key_figures, publish_report_links
from pipeline_lib.errors import LeaseLost, NotebookFailed, RunCancelled, WorkbenchError
from pipeline_lib.execution.recording import complete_run
from pipeline_lib.execution.resources import Resources, acquired
from pipeline_lib.execution.stage_run import RunAtWork, error_record, run_stage, worth_retrying
from pipeline_lib.parameters import RunParameters, StageName
from pipeline_lib.settings import load_settings
from pipeline_lib.stages.chain import STAGES, Stage, stage_named
from pipeline_lib.tracking import queries
from pipeline_lib.tracking.lease import held_lease
from pipeline_lib.tracking.runs import Origin, claim_run, create_run
from pipeline_lib.tracking.states import RunStatus, StageStatus

RETRIES = 2
_HANDED_OVER: ContextVar[Resources | None] = ContextVar("resources", default=None)
_AT_WORK: ContextVar[RunAtWork] = ContextVar("run_at_work")


@contextmanager
def using(resources: Resources) -> Iterator[None]:
    """Let flows started in this block use what their caller has already reached or started."""
    token = _HANDED_OVER.set(resources)
    try:
        yield
    finally:
        _HANDED_OVER.reset(token)


@flow(name="pipeline", flow_run_name="{pipeline_id}", log_prints=False)
def pipeline(parameters: RunParameters = RunParameters(), pipeline_id: str = "") -> str:  # noqa: B008  Prefect's form shows it
    """Generate, ingest, process, transform, export: one notebook each.

    Works the pending run `pipeline_id`, or a new one with these parameters; returns its id. Raises what ended it.
    """
    with ExitStack() as stack:
        resources = _HANDED_OVER.get() or stack.enter_context(acquired(load_settings()))
        settings, engine = resources.settings, resources.engine
        lease = settings.workbench_lease_seconds
        if not pipeline_id:
            pipeline_id = create_run(engine, parameters, Origin("prefect"), lease).pipeline_id
        run = claim_run(engine, pipeline_id, lease)
        watch = stack.enter_context(held_lease(run))
        stored = RunParameters.checked(queries.run_row(engine, pipeline_id)["parameters"])
        work = RunAtWork(run, stored, settings.run_folder(pipeline_id), resources, watch)
        run.start(str(runtime.flow_run.id))
        with cancelled_by_signals(watch.stop):
            _work_to_the_end(work)
    return pipeline_id


def _work_to_the_end(work: RunAtWork) -> None:
    token = _AT_WORK.set(work)
    try:
        for stage in STAGES:
            _pass_or_run(work, stage)
        complete_run(work.run, work.folder)
    except LeaseLost:
        raise
    except BaseException as error:
        _end_badly(work, error)
        raise
    finally:
        _AT_WORK.reset(token)
        _tell_the_figures(work)


def _pass_or_run(work: RunAtWork, stage: Stage) -> None:
    if work.watch.stop.is_set():
        raise RunCancelled(f"run {work.run.pipeline_id} was cancelled before stage {stage.name}")
    if stage.name is StageName.GENERATE and work.parameters.input_file:
        work.run.stage_passed(stage.name, StageStatus.SKIPPED, f"own input file {work.parameters.input_file}")
        return
    _task_for(stage, work.parameters.stage_timeout)(stage.name.value)


def _task_for(stage: Stage, stage_timeout: int) -> Task[[str], None]:
    """Return the stage's task; its name and its time limit are the stage's (Prefect's limit only backs up ours)."""
    number = STAGES.index(stage) + 1
    return _stage_task.with_options(task_run_name=f"{number} {stage.title}", timeout_seconds=stage_timeout + 60)


def _try_again(_task: Task[Any, Any], _task_run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return worth_retrying(error.exception if isinstance(error, NotebookFailed) else type(error).__name__)


@task(
    name="stage",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_try_again,
    cache_policy=NO_CACHE,
)
def _stage_task(stage_name: str) -> None:
    """Run one stage of the run at work."""
    stage, context = stage_named(StageName(stage_name)), TaskRunContext.get()
    attempts_left = context is not None and context.task_run.run_count <= RETRIES
    work = _AT_WORK.get()
    try:
        run_stage(work, stage, lambda name: attempts_left and worth_retrying(name))
    finally:
        publish_report_links(work.folder, stage)


def _end_badly(work: RunAtWork, error: BaseException) -> None:
    cancelled = work.watch.stop.is_set()
    work.run.end_badly(RunStatus.CANCELLED if cancelled else RunStatus.FAILED, error_record(error))
    if cancelled and isinstance(error, WorkbenchError):
        raise RunCancelled(f"run {work.run.pipeline_id} was cancelled") from error


def _tell_the_figures(work: RunAtWork) -> None:
    figures = queries.key_figures_of(work.run.engine, work.run.pipeline_id)
    work.resources.metrics.run_ended(figures, queries.waiting_events(work.run.engine))
    publish_key_figures(figures)
