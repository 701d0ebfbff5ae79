"""The flow of a project without a flows/pipeline.py: the stages of its pipeline.toml, in order, one task each."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from workbench.prefect.api import FLOW
from workbench.prefect.flow_run import RunInFlow, name_of_run, retry_if_transient, works_a_run
from workbench.run.lifecycle import RETRIES, RETRY_SECONDS
from workbench.stage.pipeline import StageName

_BACKUP_SECONDS = 60  # Prefect's limit only backs up the run's own stage_timeout


@task(
    name="stage",
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(backoff_factor=RETRY_SECONDS),
    retry_jitter_factor=0.5,
    retry_condition_fn=retry_if_transient,
    cache_policy=NO_CACHE,
)
def run_stage(run: RunInFlow, stage_name: StageName) -> Any:
    """Execute the stage's notebook, render its report, prove and record its result."""
    return run.run_stage(stage_name)


@flow(name=FLOW, flow_run_name=name_of_run, validate_parameters=False, log_prints=False)
@works_a_run
def pipeline(run: RunInFlow) -> None:
    """Run the stages of pipeline.toml in order: one notebook each."""
    for stage in run.stages_to_execute():
        run.execute(run_stage, stage, timeout_seconds=run.parameters.stage_timeout + _BACKUP_SECONDS)
