"""A run from its claim to its end; its stages are executed by Prefect's tasks or, without Prefect, in this thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import stamina
from sqlalchemy import Engine

from workbench.base.errors import LeaseLost, RunCancelled, WorkbenchError
from workbench.notebook.report_contents import renew_contents
from workbench.run.completion import complete_run
from workbench.run.publisher import publish_soon
from workbench.run.resources import Resources
from workbench.run.resume import reuse_proven
from workbench.run.reuse import reuse_earlier_result
from workbench.run.stage_runner import RunAtWork, error_record, exception_name, run_stage, worth_retrying
from workbench.stage.artefacts import RunFolder
from workbench.stage.pipeline import STAGES, Stage
from workbench.stage.run_parameters import RunParameters
from workbench.state import queries
from workbench.state.database_identity import mark_folder
from workbench.state.lease import Watch, held_lease
from workbench.state.publication_queue import pending_publications
from workbench.state.runs import claim_run
from workbench.state.states import RunStatus, StageStatus

log = logging.getLogger(__name__)
RETRIES = 2
RETRY_SECONDS = 2.0
Following = Callable[[Engine, str], AbstractContextManager[None]]


@contextmanager
def claimed(resources: Resources, pipeline_id: str, watch: Watch) -> Iterator[RunAtWork]:
    """Claim a pending run, read its parameters, and hold its lease during the block; raises `IllegalTransition`."""
    settings, engine = resources.settings, resources.engine
    run = claim_run(engine, pipeline_id, settings.workbench_lease_seconds)
    with held_lease(run, watch):
        mark_folder(engine, RunFolder(settings.home, pipeline_id))
        parameters = RunParameters.trusted(queries.run_row(engine, pipeline_id)["parameters"])
        yield RunAtWork(run, parameters, RunFolder(settings.home, pipeline_id), resources, watch)


@contextmanager
def worked_to_its_end(work: RunAtWork) -> Iterator[None]:
    """Complete a running run after the block that executes its stages, or record what ended the block.

    Raises what ended the run, after it is recorded; `LeaseLost` when another process has ended the run.
    """
    try:
        yield
        complete_run(work.run, work.folder, work.resources.settings.workbench_schema)
        _renew_contents(work)
    except LeaseLost:
        raise
    except BaseException as error:
        _end_badly(work, error)
        raise
    else:
        publish_soon(work.run.engine, work.watch.stop)
    finally:
        _send_figures(work)


def stages_to_execute(work: RunAtWork) -> Iterator[Stage]:
    """Yield, in their order, the stages whose notebooks have to run; the others are recorded as skipped or reused."""
    done = reuse_proven(work) if work.run.attempt > 1 else frozenset()
    for stage in STAGES:
        if stage.name not in done and not _is_passed(work, stage):
            yield stage


def _send_figures(work: RunAtWork) -> None:
    engine = work.run.engine
    waiting = {"events": queries.waiting_events(engine), "publications": len(pending_publications(engine))}
    work.resources.metrics.run_ended(queries.key_figures_of(engine, work.run.pipeline_id), waiting)


def execute_with_retries(work: RunAtWork, stage: Stage) -> None:
    """Run a stage in this thread, and up to twice again after a transient error."""
    attempts = stamina.retry_context(
        on=is_worth_retrying, attempts=RETRIES + 1, timeout=None, wait_initial=RETRY_SECONDS, wait_jitter=RETRY_SECONDS
    )
    for attempt in attempts:
        with attempt:
            run_stage(work, stage, partial(_another_follows, attempt.num))


def _another_follows(attempt: int, name: str) -> bool:
    return attempt <= RETRIES and worth_retrying(name)


def is_worth_retrying(error: Exception) -> bool:
    """Return whether a stage that ended with this error is worth another attempt."""
    return worth_retrying(exception_name(error))


def _is_passed(work: RunAtWork, stage: Stage) -> bool:
    """Record a stage that is skipped or whose result is taken over; return False when it has to run."""
    if work.watch.stop.is_set():
        raise RunCancelled(f"run {work.run.pipeline_id} was cancelled before stage {stage.name}")
    if not stage.runs_with(work.parameters):
        own = work.parameters.input_file
        work.run.stage_passed(stage.name, StageStatus.SKIPPED, f"own input file {own}" if own else f"not: {stage.when}")
        return True
    return work.parameters.reuse and reuse_earlier_result(work, stage)


def _end_badly(work: RunAtWork, error: BaseException) -> None:
    cancelled = work.watch.stop.is_set()
    work.run.end_badly(RunStatus.CANCELLED if cancelled else RunStatus.FAILED, error_record(error))
    _renew_contents(work)
    if cancelled and isinstance(error, WorkbenchError):
        raise RunCancelled(f"run {work.run.pipeline_id} was cancelled") from error


def _renew_contents(work: RunAtWork) -> None:
    """Link the run's reports to each other; on a full disk they stay as they are."""
    try:
        renew_contents(work.folder)
    except OSError as error:
        log.warning("contents of reports not renewed", extra={"error_type": type(error).__name__})
